// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/config"
	"podplane/injector/webhook"
)

// TestInject has the injector decide, with what the API server can do.
func TestInject(t *testing.T) {
	t.Parallel()
	c := options("").Config
	native := false
	mutate, err := inject(c, func() bool { return native })
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		annotation string
		native     bool
		want       string // in the patch
		refusal    string
	}{
		"native":  {`"consul.hashicorp.com/connect-inject":"true"`, true, "/spec/initContainers", ""},
		"first":   {`"consul.hashicorp.com/connect-inject":"true"`, false, "/spec/containers", ""},
		"not":     {`"other":"x"`, true, "", ""},
		"refusal": {`"consul.hashicorp.com/connect-inject":"maybe"`, true, "", "must be true or false"},
	} {
		native = tc.native
		pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","annotations":{` + tc.annotation + `}},
			"spec":{"serviceAccountName":"web","containers":[{"name":"web","image":"i"}]}}`
		got, err := mutate(t.Context(), webhook.Request{Pod: []byte(pod), Namespace: "shop"})
		if err != nil || !strings.Contains(string(got.Patch), tc.want) || (len(got.Patch) > 0) != (tc.want != "") || !strings.Contains(got.Refusal, tc.refusal) {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
		if len(got.Patch) > 0 && (!json.Valid(got.Patch) || !strings.Contains(string(got.Patch), "podplane:test")) {
			t.Errorf("%s: patch %s", name, got.Patch)
		}
	}
	if _, err := mutate(t.Context(), webhook.Request{Pod: []byte("what")}); err == nil {
		t.Error("no pod is no error")
	}
}

func TestInjectorConfig(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte("PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := options("").Config
	c.Consul.TLS = config.ConsulTLS{CACertsPath: path, ServerName: "server.dc1.consul"}
	c.Inject.AuthMethod, c.Inject.TokenAudience, c.Inject.TokenExpiry = "podplane", "consul", 20*time.Minute
	c.Inject.Compat, c.Inject.CompanionImage = true, "companion"
	got, err := injectorConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	if got.Consul.CA != "PEM" || got.Consul.TLSServerName != "server.dc1.consul" || got.Consul.GRPCPort != 8502 || got.Consul.Addresses != "127.0.0.1" {
		t.Errorf("consul is %+v", got.Consul)
	}
	if got.Login.AuthMethod != "podplane" || got.Login.Audience != "consul" || got.Login.ExpirySeconds != 1200 || !got.Compat || got.CompanionImage != "companion" {
		t.Errorf("got %+v", got)
	}
	if _, err := inject(c, nil); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("a file without certificates gives %v", err)
	}
	c.Consul.TLS.CACertsPath = "/does/not/exist"
	if _, err := inject(c, nil); err == nil || !strings.Contains(err.Error(), "read consul's authorities") {
		t.Error(err)
	}
	c.Consul.TLS.Disabled = true
	if got, err := injectorConfig(c); err != nil || got.Consul.CA != "" {
		t.Errorf("without TLS the CA is read: %v", err)
	}
}

func TestRegistrarConfig(t *testing.T) {
	t.Parallel()
	c := options("").Config
	c.Inject.AuthMethod = "podplane"
	c.Tenancy.Partition = "p1"
	c.Registrar.NodeMeta = map[string]string{"a": "b"}
	log := hclog.NewNullLogger()
	got, err := registrarConfig(Registration{Config: c, Log: log})
	if err != nil || got.AuthMethod != "podplane" || got.Partition != "p1" || got.NodeMeta["a"] != "b" || got.NodeSuffix != "-virtual" ||
		got.Workers != 8 || got.SweepInterval != 5*time.Minute || !got.Locality || got.Defaults.ShutdownGrace != 30 || got.Logger != log {
		t.Errorf("got %+v, %v", got, err)
	}
	c.Registrar.TokenCleanup = false
	if got, _ := registrarConfig(Registration{Config: c}); got.AuthMethod != "" {
		t.Error("tokens are cleaned up although they should not be")
	}
	c.Defaults.CPULimit = "much"
	if _, err := registrarConfig(Registration{Config: c}); err == nil {
		t.Error("a bad quantity is no error")
	}
	if err := register().Add(t.Context(), nil, Registration{Config: c}); err == nil {
		t.Error("a bad quantity is no error")
	}
}

func TestWriteProxyIDs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "proxyid")
	if err := WriteProxyIDs([]string{path + "=web"}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "web" {
		t.Errorf("%q, %v", got, err)
	}
	for _, args := range [][]string{nil, {"a=b"}, {"/a"}, {path + "="}, {path + "/x=y"}} {
		if err := WriteProxyIDs(args); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
	if err := os.Mkdir(path+"-dir", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteProxyIDs([]string{path + "-dir=x"}); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
