// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"

	// What bootstraps refer to by type URL.
	_ "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// validAny is what the messages inside Any have: ValidateAll of the bootstrap does not look into those.
type validAny interface{ ValidateAll() error }

// strictParse reads JSON as Envoy does: unknown fields and broken rules are errors.
func strictParse(t testing.TB, b []byte) *bootstrapv3.Bootstrap {
	t.Helper()
	var msg bootstrapv3.Bootstrap
	if err := protojson.Unmarshal(b, &msg); err != nil {
		t.Fatalf("not a bootstrap: %v\n%s", err, b)
	}
	if err := msg.ValidateAll(); err != nil {
		t.Fatalf("bootstrap breaks a rule: %v\n%s", err, b)
	}
	forEachAny(t, &msg, func(url string, inner any) {
		if v, ok := inner.(validAny); ok {
			if err := v.ValidateAll(); err != nil {
				t.Fatalf("%s breaks a rule: %v\n%s", url, err, b)
			}
		}
	})
	return &msg
}

// testConfig is a sidecar's usual configuration.
func testConfig() Config {
	return Config{
		ProxyID:          "web-proxy",
		Admin:            Address{Host: "127.0.0.1", Port: 19000},
		XDS:              XDS{Address: "127.0.0.1:1234"},
		Prometheus:       Prometheus{Merge: Address{Host: "127.0.0.1", Port: 20100}},
		UseCentralConfig: true,
	}
}

// testParams is what a Consul server answers for a sidecar.
func testParams(proxyConfig map[string]any) Params {
	return Params{
		Service:     "web",
		Identity:    "web",
		Namespace:   "default",
		Partition:   "default",
		Datacenter:  "dc1",
		NodeName:    "node-1",
		ProxyConfig: proxyConfig,
	}
}

// environment is a Getenv over a fixed list of NAME=value.
func environment(vars ...string) func(string) string {
	return func(name string) string {
		for _, v := range vars {
			if k, value, _ := strings.Cut(v, "="); k == name {
				return value
			}
		}
		return ""
	}
}

func mustBuild(t testing.TB, cfg Config, p Params) *bootstrapv3.Bootstrap {
	t.Helper()
	b, err := Build(cfg, p)
	if err != nil {
		t.Fatal(err)
	}
	return strictParse(t, b)
}

func indented(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return append(out.Bytes(), '\n')
}
