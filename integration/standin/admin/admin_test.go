// SPDX-License-Identifier: MPL-2.0

package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"podplane/integration/logtest"
	"podplane/integration/standin/admin"
	"podplane/integration/standin/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a served endpoint.
type rig struct {
	*fake
	store *stats.Store
	url   string
	log   *logtest.Buffer
}

func loopback() *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{},
	}}}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := stats.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{fake: &fake{dump: &adminv3.ConfigDump{}}, store: store, log: &logtest.Buffer{}}
	s, err := admin.New(admin.Config{
		Address: loopback(), Process: r, Traffic: r, Logs: r, Stats: store, AccessLog: r.log,
		ViaAPI: func(name string) bool { return name == "api" }, Refresh: func() { r.note("refresh") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	r.url = "http://" + s.Addr().String()
	return r
}

func (r *rig) do(t *testing.T, method, path string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		method, path string
		code         int
		body         string // part of it
		call         string // what it did
	}{
		"ready":             {"GET", "/ready", 200, "LIVE\n", ""},
		"server info":       {"GET", "/server_info", 200, `"state": "LIVE"`, ""},
		"certs":             {"GET", "/certs", 200, `"days_until_expiration": "2"`, ""},
		"certs: serial":     {"GET", "/certs", 200, `"serial_number": "ff"`, ""},
		"certs: SAN":        {"GET", "/certs", 200, `"uri": "spiffe://td/svc/web"`, ""},
		"clusters":          {"GET", "/clusters", 200, "api::10.0.0.2:20000::rq_total::7\n", ""},
		"clusters: health":  {"GET", "/clusters", 200, "api::10.0.0.2:20000::health_flags::/failed_eds_health\n", ""},
		"clusters: outlier": {"GET", "/clusters", 200, "api::10.0.0.3:20000::health_flags::/failed_outlier_check/degraded_eds_health\n", ""},
		"clusters: via API": {"GET", "/clusters", 200, "api::added_via_api::true\n", ""},
		"clusters: json":    {"GET", "/clusters?format=json", 200, `"added_via_api": true`, ""},
		"clusters: pipe":    {"GET", "/clusters?format=json", 200, `"path": "/run/app.sock"`, ""},
		"listeners":         {"GET", "/listeners", 200, "public::[::1]:20000\n", ""},
		"listeners: json":   {"GET", "/listeners?format=json", 200, `"port_value": 20000`, ""},
		"help":              {"GET", "/help", 200, "  /quitquitquit (POST): exit the server\n", ""},
		"home":              {"GET", "/", 200, "<a href='stats'>", ""},
		"unknown":           {"GET", "/nope", 404, "invalid path. admin commands are:\n", ""},
		"memory":            {"GET", "/memory", 200, `"allocated": "`, ""},
		"hot restart":       {"GET", "/hot_restart_version", 200, "disabled", ""},
		"stats":             {"GET", "/stats", 200, "test.hits: 3\n", "refresh"},
		"stats: json":       {"GET", "/stats?format=json&filter=^test", 200, `{"stats":[{"name":"test.hits","value":3}`, "refresh"},
		"stats: prometheus": {"GET", "/stats?format=prometheus", 200, "# TYPE envoy_test_hits counter\n", "refresh"},
		"prometheus":        {"GET", "/stats/prometheus?usedonly&filter=test", 200, "envoy_test_hits{} 3\n", "refresh"},
		"stats: bad format": {"GET", "/stats?format=xml", 400, "usage: /stats?format=", "refresh"},
		"stats: bad regex":  {"GET", "/stats?filter=(", 400, "Invalid re2 regex", ""},
		"prometheus: regex": {"GET", "/stats/prometheus?filter=(", 400, "Invalid re2 regex", ""},
		"dump":              {"GET", "/config_dump", 200, "{}", "dump"},
		"dump with EDS":     {"GET", "/config_dump?include_eds", 200, "{}", "dump+eds"},
		"dump by resource":  {"GET", "/config_dump?resource=x", 400, "resource", ""},
		"quit":              {"POST", "/quitquitquit", 200, "OK\n", "quit"},
		"drain":             {"POST", "/drain_listeners", 200, "OK\n", "drain"},
		"drain graceful":    {"POST", "/drain_listeners?inboundonly&graceful", 200, "OK\n", "drain+inbound+graceful"},
		"drain of clients":  {"POST", "/drain_listeners?inboundonly&graceful&skip_exit", 200, "OK\n", "leave+inbound"},
		"skip_exit alone":   {"POST", "/drain_listeners?skip_exit", 400, "skip_exit requires graceful\n", ""},
		"fail":              {"POST", "/healthcheck/fail", 200, "OK\n", "fail"},
		"ok":                {"POST", "/healthcheck/ok", 200, "OK\n", "ok"},
		"reset":             {"POST", "/reset_counters", 200, "OK\n", ""},
		"logging":           {"POST", "/logging", 200, "active loggers:\n  admin: debug\n  main: info\n", ""},
		"logging: all":      {"POST", "/logging?level=debug", 200, "active loggers:", "all=debug"},
		"logging: one":      {"POST", "/logging?main=trace", 200, "active loggers:", "set=trace"},
		"logging: paths":    {"POST", "/logging?paths=main:error,admin:info", 200, "active loggers:", "set=error"},
		"logging: bad path": {"POST", "/logging?paths=main", 400, "error: empty logger name", ""},
		"logging: unknown":  {"POST", "/logging?nobody=info", 400, "usage: /logging?level=<level>", ""},
		"logging: two":      {"POST", "/logging?a=info&b=info", 400, "invalid number of parameters", ""},
		"GET quit":          {"GET", "/quitquitquit", 405, "Method GET not allowed, POST required.", ""},
		"PUT drain":         {"PUT", "/drain_listeners", 405, "POST required", ""},
		"GET logging":       {"GET", "/logging", 405, "POST required", ""},
		"GET reset":         {"GET", "/reset_counters", 405, "POST required", ""},
		"GET fail":          {"GET", "/healthcheck/fail", 405, "POST required", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.store.Scope("test.").Counter("hits").Add(3)
			code, body, header := r.do(t, tc.method, tc.path)
			if code != tc.code || !strings.Contains(body, tc.body) {
				t.Errorf("%s %s = %d %q, want %d %q", tc.method, tc.path, code, body, tc.code, tc.body)
			}
			if got := r.noted(); got != tc.call {
				t.Errorf("it did %q, want %q", got, tc.call)
			}
			if strings.HasPrefix(body, "{") && tc.code == 200 && header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", header.Get("Content-Type"))
			}
			if strings.Contains(body, "late") {
				t.Error("shows what is still warming")
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	for _, state := range []adminv3.ServerInfo_State{adminv3.ServerInfo_DRAINING, adminv3.ServerInfo_PRE_INITIALIZING, adminv3.ServerInfo_INITIALIZING} {
		r := newRig(t)
		r.state = state
		if code, body, _ := r.do(t, http.MethodGet, "/ready"); code != 503 || body != state.String()+"\n" {
			t.Errorf("%s: %d %q", state, code, body)
		}
	}
}

func TestOwnStatisticsAndAccessLog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.do(t, http.MethodGet, "/ready?x=1")
	for name, want := range map[string]int64{
		"http.admin.downstream_rq_total": 1, "http.admin.downstream_rq_2xx": 1, "http.admin.downstream_rq_active": 0,
		"listener.admin.downstream_cx_total": 1, "http.admin.downstream_cx_active": 1,
	} {
		if got, ok := r.store.Value(name); !ok || got != want {
			t.Errorf("%s = %d, %t; want %d", name, got, ok, want)
		}
	}
	if line := r.log.String(); !strings.Contains(line, `"GET /ready?x=1 HTTP/1.1" 200 - 0 5 `) {
		t.Errorf("access log = %q", line)
	}
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pack := func(m proto.Message) *anypb.Any {
		t.Helper()
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	inline := func(s string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
	}
	cluster := &clusterv3.Cluster{
		Name: "api", TypedExtensionProtocolOptions: map[string]*anypb.Any{"x": {}},
		TransportSocket: &corev3.TransportSocket{
			Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&tlsv3.UpstreamTlsContext{
				CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{{
					CertificateChain: inline("PUBLIC"), PrivateKey: inline("SECRET KEY"), Password: &corev3.DataSource{
						Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte("SECRET PASS")},
					},
				}}},
			})},
		},
	}
	keys := &tlsv3.Secret{Name: "keys", Type: &tlsv3.Secret_SessionTicketKeys{SessionTicketKeys: &tlsv3.TlsSessionTicketKeys{Keys: []*corev3.DataSource{inline("SECRET TICKET")}}}}
	r.dump = &adminv3.ConfigDump{Configs: []*anypb.Any{
		pack(&adminv3.ClustersConfigDump{DynamicActiveClusters: []*adminv3.ClustersConfigDump_DynamicCluster{{Cluster: pack(cluster)}}}),
		pack(&adminv3.SecretsConfigDump{StaticSecrets: []*adminv3.SecretsConfigDump_StaticSecret{{Name: "keys", Secret: pack(keys)}}}),
	}}
	code, body, _ := r.do(t, http.MethodGet, "/config_dump")
	if code != 200 || strings.Contains(body, "SECRET") || strings.Count(body, "[redacted]") != 2 || !strings.Contains(body, "W3JlZGFjdGVkXQ==") {
		t.Errorf("dump = %d %s", code, body)
	}
	if !strings.Contains(body, "PUBLIC") || !json.Valid([]byte(body)) {
		t.Errorf("dump lost more than secrets: %s", body)
	}
}

func TestBinding(t *testing.T) {
	t.Parallel()
	store, err := stats.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := loopback()
	port := taken.Addr().(*net.TCPAddr).Port
	address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: uint32(port)}
	if _, err := admin.New(admin.Config{Address: address, Stats: store}); err == nil || !strings.Contains(err.Error(), "cannot bind '127.0.0.1:") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("taken port: %v", err)
	}
	path := filepath.Join(t.TempDir(), "admin.sock")
	s, err := admin.New(admin.Config{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}, Stats: store})
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr().String() != path {
		t.Errorf("address = %s", s.Addr())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
