// SPDX-License-Identifier: MPL-2.0

package bootstrap_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"podplane/integration/standin/bootstrap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = `{"node": {"id": "web", "cluster": "web"}, "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 19000}}}}`

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadForms(t *testing.T) {
	t.Parallel()
	message := &bootstrapv3.Bootstrap{}
	if err := prototext.Unmarshal([]byte(`node { id: "web" cluster: "web" }`), message); err != nil {
		t.Fatal(err)
	}
	binary, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ name, content string }{
		"json":         {"b.json", good},
		"no ending":    {"bootstrap", good},
		"yaml":         {"b.yaml", "node:\n  id: web\n  cluster: web\n"},
		"json as yaml": {"b.yml", good},
		"text proto":   {"b.pb_text", `node { id: "web" cluster: "web" }`},
		"binary":       {"b.pb", string(binary)},
		"camel case":   {"b.json", `{"node": {"id": "web"}, "statsFlushInterval": "5s"}`},
		"lone value":   {"b.json", `{"node": {"id": "web"}, "dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC", "grpc_services": {"envoy_grpc": {"cluster_name": "x"}}}}}`},
		"lone in an Any": {"b.json", `{"node": {"id": "web"}, "static_resources": {"listeners": {"name": "l", "filter_chains": [{"filters": {"name": "f", "typed_config":
			{"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
			 "route_config": {"virtual_hosts": {"name": "v", "domains": "*"}}}}}]}}}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := bootstrap.Load(bootstrap.Source{Path: write(t, tc.name, tc.content)})
			if err != nil {
				t.Fatal(err)
			}
			if b.GetNode().GetId() != "web" {
				t.Errorf("node = %v", b.GetNode())
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ name, content, want string }{
		"unknown field":          {"b.json", `{"nodes": {}}`, `unknown field "nodes"`},
		"unknown field below":    {"b.json", `{"node": {"identity": "x"}}`, "has unknown fields"},
		"unknown field in yaml":  {"b.yaml", "node:\n  identity: x\n", "has unknown fields"},
		"unknown type in an Any": {"b.json", `{"stats_sinks": [{"name": "x", "typed_config": {"@type": "type.googleapis.com/x.Y"}}]}`, "x.Y"},
		"constraint":             {"b.json", `{"static_resources": {"clusters": [{"name": ""}]}}`, "Proto constraint validation failed"},
		"not json":               {"b.json", `{`, "Unable to parse JSON as proto"},
		"not yaml":               {"b.yaml", "\t- x: [", "Unable to convert YAML as JSON"},
		"wrong type":             {"b.json", `{"node": 7}`, "Unable to parse JSON"},
		"broken binary":          {"b.pb", "\xff\xff", "Unable to parse file"},
		"broken text":            {"b.pb_text", "node {", "Unable to parse file"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bootstrap.Load(bootstrap.Source{Path: write(t, tc.name, tc.content)})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestLoadPaths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/dev/null", "/proc/self/environ", "/sys/kernel", "/dev/fd/../null", "//proc/1/mem", "/etc/../dev/zero"} {
		if _, err := bootstrap.Load(bootstrap.Source{Path: path}); err == nil || !strings.Contains(err.Error(), "Invalid path: "+path) {
			t.Errorf("%s: error = %v, want it refused", path, err)
		}
	}
	if _, err := bootstrap.Load(bootstrap.Source{Path: "/nowhere/b.json"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := bootstrap.Load(bootstrap.Source{}); !errors.Is(err, bootstrap.ErrNoConfig) {
		t.Errorf("no source: %v", err)
	}
}

func TestLoadDescriptor(t *testing.T) {
	t.Parallel()
	f, err := os.Open(write(t, "b.json", good))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Read twice: a descriptor is opened anew each time.
	for range 2 {
		b, err := bootstrap.Load(bootstrap.Source{Path: fmt.Sprintf("/dev/fd/%d", f.Fd())})
		if err != nil || b.GetNode().GetId() != "web" {
			t.Fatalf("Load = %v, %v", b, err)
		}
	}
}

func TestYAMLOverFile(t *testing.T) {
	t.Parallel()
	b, err := bootstrap.Load(bootstrap.Source{Path: write(t, "b.json", good), YAML: "{node: {id: api,},}"})
	if err != nil {
		t.Fatal(err)
	}
	if n := b.GetNode(); n.GetId() != "api" || n.GetCluster() != "web" {
		t.Errorf("node = %v, want the id of the command line and the cluster of the file", n)
	}
}

func TestAllowUnknown(t *testing.T) {
	t.Parallel()
	if _, err := bootstrap.Load(bootstrap.Source{YAML: `{"future": 1}`, AllowUnknown: true}); err != nil {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(good)
	f.Add("node: {id: x}")
	f.Add(`{"dynamic_resources": {"ads_config": {"grpc_services": {}}}}`)
	f.Fuzz(func(t *testing.T, content string) {
		b, err := bootstrap.Load(bootstrap.Source{YAML: content})
		if (b == nil) == (err == nil) {
			t.Errorf("Load = %v, %v", b, err)
		}
	})
}
