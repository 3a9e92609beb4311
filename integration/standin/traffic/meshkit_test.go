// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The mesh of these tests: a client calls web's outbound listener; web's engine speaks mTLS with api's public listener;
// api's engine calls the application. Shapes are those that Consul sends.
type mesh struct {
	ca       *authority
	web, api *Engine
	protocol string // "tcp", "http", "http2" or "grpc"
	rbac     string // rules of api's intentions
	apiID    string // whose certificate api shows
	wantID   string // whose certificate web expects
	backend  string
	noCert   bool // web shows no certificate
}

const trustDomain = "spiffe://test.consul/ns/default/dc/dc1/svc/"

const (
	denyNone = `{"action":"DENY"}`
	denyWeb  = `{"action":"DENY","policies":{"consul-intentions-layer4":{"permissions":[{"any":true}],"principals":[{"authenticated":{"principal_name":{"safe_regex":{"regex":"^spiffe://test.consul/ns/default/dc/[^/]+/svc/web$"}}}}]}}}`
	allowAll = `{"action":"ALLOW","policies":{"p":{"permissions":[{"any":true}],"principals":[{"any":true}]}}}`
	// denyAdmin is what Consul makes of "web may do anything but /admin; nobody else anything" with default allow.
	denyAdmin = `{"action":"DENY","policies":{` +
		`"consul-intentions-layer4":{"permissions":[{"any":true}],"principals":[{"and_ids":{"ids":[{"authenticated":{"principal_name":{"safe_regex":{"regex":"^spiffe://test.consul/ns/default/dc/[^/]+/svc/[^/]+$"}}}},{"not_id":{"authenticated":{"principal_name":{"safe_regex":{"regex":"^spiffe://test.consul/ns/default/dc/[^/]+/svc/web$"}}}}}]}}]},` +
		`"consul-intentions-layer7-0":{"permissions":[{"url_path":{"path":{"prefix":"/admin"}}}],"principals":[{"authenticated":{"principal_name":{"safe_regex":{"regex":"^spiffe://test.consul/ns/default/dc/[^/]+/svc/web$"}}}}]}}}`
)

// newMesh fills in defaults, starts both sides and returns once both carry traffic.
func newMesh(t testing.TB, m *mesh) *mesh {
	t.Helper()
	m.ca = newAuthority(t)
	m.web, m.api = newEngine(t), newEngine(t)
	if m.rbac == "" {
		m.rbac = denyNone
	}
	if m.apiID == "" {
		m.apiID = trustDomain + "api"
	}
	if m.wantID == "" {
		m.wantID = trustDomain + "api"
	}
	m.startAPI(t)
	m.startWeb(t)
	return m
}

func (m *mesh) http2() bool { return m.protocol == "http2" || m.protocol == "grpc" }

// options are the cluster's protocol options that Consul sends.
func (m *mesh) options() string {
	if !m.http2() {
		return ""
	}
	return `,"typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","explicit_http_config":{"http2_protocol_options":{}}}}`
}

func (m *mesh) startAPI(t testing.TB) {
	t.Helper()
	host, port, _ := strings.Cut(m.backend, ":")
	c := staticCluster("local_app", host, port)
	setCluster(t, m.api, c[:len(c)-1]+m.options()+"}")
	setListener(t, m.api, m.publicListener(t))
}

// publicListener is api's inbound listener.
func (m *mesh) publicListener(t testing.TB) string {
	t.Helper()
	cert, key := m.ca.leaf(t, m.apiID)
	var alpn, filters string
	switch m.protocol {
	case "tcp":
		filters = `{"name":"envoy.filters.network.rbac","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC","rules":` + m.rbac + `,"stat_prefix":"connect_authz"}},` +
			`{"name":"envoy.filters.network.tcp_proxy","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"public_listener","cluster":"local_app"}}`
	default:
		alpn, filters = `"http/1.1"`, m.publicHCM()
		if m.http2() {
			alpn = `"h2","http/1.1"`
		}
	}
	return `{"name":"public_listener","address":` + socketJSON("127.0.0.1", "0") + `,"traffic_direction":"INBOUND","filter_chains":[{"filters":[` + filters + `],` +
		`"transport_socket":{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext","require_client_certificate":true,"common_tls_context":{"tls_params":{},` +
		`"tls_certificates":[` + pairJSON(cert, key) + `],"validation_context":{"trusted_ca":{"inline_string":"` + quoted(m.ca.PEM) + `"}},"alpn_protocols":[` + alpn + `]}}}}]}`
}

func pairJSON(cert, key string) string {
	return `{"certificate_chain":{"inline_string":"` + quoted(cert) + `"},"private_key":{"inline_string":"` + quoted(key) + `"}}`
}

func (m *mesh) publicHCM() string {
	extra := ""
	if m.protocol == "grpc" {
		extra = `{"name":"envoy.filters.http.grpc_stats","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig","stats_for_all_methods":true}},` +
			`{"name":"envoy.filters.http.grpc_http1_bridge","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.grpc_http1_bridge.v3.Config"}},`
	}
	return hcmJSON("public_listener", inlineRoute("local_app"), extra+
		`{"name":"envoy.filters.http.rbac","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC","rules":`+m.rbac+`}},`+
		`{"name":"envoy.filters.http.header_to_metadata","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config","request_rules":[{"header":"x-forwarded-client-cert","on_header_present":{"metadata_namespace":"consul","key":"service","regex_value_rewrite":{"pattern":{"regex":".*URI=spiffe://([^/]+.[^/]+)(?:/ap/([^/]+))?/ns/([^/]+)/dc/([^/]+)/svc/([^/;,]+).*"},"substitution":"\\5"}}}]}},`,
		`,"forward_client_cert_details":"APPEND_FORWARD","set_current_client_cert_details":{"subject":true,"cert":true,"chain":true,"dns":true,"uri":true},"normalize_path":true,"upgrade_configs":[{"upgrade_type":"websocket"}]`)
}

// hcmJSON is a connection manager; filters come before the router, more after everything.
func hcmJSON(prefix, routes, filters, more string) string {
	return `{"name":"envoy.filters.network.http_connection_manager","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager","stat_prefix":"` + prefix + `",` +
		routes + `,"http_filters":[` + filters + `{"name":"envoy.filters.http.router","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]` + more + `}}`
}

func inlineRoute(cluster string) string {
	return `"route_config":{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"` + cluster + `"}}]}]}`
}

func (m *mesh) startWeb(t testing.TB) {
	t.Helper()
	pair := ""
	if !m.noCert {
		cert, key := m.ca.leaf(t, trustDomain+"web")
		pair = pairJSON(cert, key)
	}
	setCluster(t, m.web, `{"name":"api.consul","type":"EDS","eds_cluster_config":{"eds_config":{"ads":{},"resource_api_version":"V3"}},"connect_timeout":"5s","circuit_breakers":{},"outlier_detection":{},"common_lb_config":{"healthy_panic_threshold":{}},`+
		`"transport_socket":{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","sni":"api.consul","common_tls_context":{"tls_params":{},"tls_certificates":[`+pair+`],`+
		`"validation_context":{"trusted_ca":{"inline_string":"`+quoted(m.ca.PEM)+`"},"match_typed_subject_alt_names":[{"san_type":"URI","matcher":{"exact":"`+m.wantID+`"}}]}}}}`+m.options()+`}`)
	setEndpoints(t, m.web, m.assignment(listenAddr(t, m.api, "public_listener")))
	filter := `{"name":"envoy.filters.network.tcp_proxy","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"upstream.api","cluster":"api.consul"}}`
	if m.protocol != "tcp" {
		filter = hcmJSON("upstream.api", inlineRoute("api.consul"), "", "")
	}
	setListener(t, m.web, `{"name":"api","address":`+socketJSON("127.0.0.1", "0")+`,"traffic_direction":"OUTBOUND","filter_chains":[{"filters":[`+filter+`]}]}`)
}

func (m *mesh) assignment(addrs ...string) string {
	var all []string
	for _, a := range addrs {
		host, port, _ := strings.Cut(a, ":")
		all = append(all, `{"endpoint":{"address":`+socketJSON(host, port)+`},"health_status":"HEALTHY","load_balancing_weight":1}`)
	}
	return `{"cluster_name":"api.consul","endpoints":[{"lb_endpoints":[` + strings.Join(all, ",") + `]}]}`
}

// entrance is where the client connects.
func (m *mesh) entrance(t testing.TB) string {
	t.Helper()
	return listenAddr(t, m.web, "api")
}

// setIntentions replaces api's rules by an update of its listener, as Consul does.
func (m *mesh) setIntentions(t testing.TB, rules string) {
	t.Helper()
	m.rbac = rules
	setListener(t, m.api, m.publicListener(t))
}

// echo is a TCP server that sends back what it gets.
func echo(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

// say sends a line over a new connection and returns the answer.
func say(addr, line string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer), err
}

// httpBackend is an application that tells what it was sent.
func httpBackend(t testing.TB) (string, *http.Request) {
	t.Helper()
	var last http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = *r
		w.Header().Set("Server", "app")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), &last
}

// client is one whose connections end with the test.
func client(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// get returns status, body and headers.
func get(t testing.TB, c *http.Client, url string, headers ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if strings.EqualFold(headers[i], "host") {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
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
