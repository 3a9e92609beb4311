// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// front is one engine with an HTTP listener.
type front struct {
	e    *Engine
	base string
}

// newFront starts a listener with these routes of one virtual host for "*"; more goes into the connection manager.
func newFront(t testing.TB, routes, filters, more string, change ...func(*Config)) *front {
	t.Helper()
	e := newEngine(t, change...)
	setListener(t, e, httpListener("front", `"route_config":{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":[`+routes+`]}]}`, filters, more))
	return &front{e: e, base: "http://" + listenAddr(t, e, "front")}
}

func httpListener(name, routes, filters, more string) string {
	return `{"name":"` + name + `","address":` + socketJSON("127.0.0.1", "0") + `,"traffic_direction":"INBOUND","filter_chains":[{"filters":[` +
		hcmJSON(name, routes, filters, more) + `]}]}`
}

// backend adds a static cluster for a handler.
func (f *front) backend(t testing.TB, name string, h http.HandlerFunc) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	host, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	setCluster(t, f.e, staticCluster(name, host, port))
}

// telling answers with what it was asked.
func telling(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App", name)
		fmt.Fprintf(w, "%s %s%s b=%v s=%v d=%q", name, r.Host, r.URL.RequestURI(), r.Header["B"], r.Header["X-S"], r.Header.Get("D"))
	}
}

func route1(match, action string) string { return `{"match":{` + match + `},` + action + `}` }

func TestRoutes(t *testing.T) {
	t.Parallel()
	f := newFront(t, strings.Join([]string{
		// what Consul makes of a router with every option
		route1(`"prefix":"/x","headers":[{"name":"a","present_match":true},{"name":":method","string_match":{"safe_regex":{"regex":"GET|PUT"}}}],"query_parameters":[{"name":"q","string_match":{"safe_regex":{"regex":".+"}}}]`,
			`"route":{"weighted_clusters":{"clusters":[{"name":"one","weight":100,"request_headers_to_add":[{"header":{"key":"x-s","value":"1"}}]},{"name":"two","weight":0}]},"prefix_rewrite":"/y"},"request_headers_to_add":[{"header":{"key":"b","value":"%PROTOCOL%"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}],"request_headers_to_remove":["d"],"response_headers_to_add":[{"header":{"key":"r","value":"v"}}],"response_headers_to_remove":["x-app"]`),
		route1(`"safe_regex":{"regex":"/r[0-9]+"}`, `"route":{"cluster":"two","regex_rewrite":{"pattern":{"regex":"^/r(\\d+)$"},"substitution":"/n/\\1"},"host_rewrite_literal":"other.test"}`),
		route1(`"path":"/exact"`, `"route":{"cluster":"one"}`),
		route1(`"path_separated_prefix":"/sep"`, `"route":{"cluster":"one","prefix_rewrite":"/s"}`),
		route1(`"prefix":"/CASE","case_sensitive":false`, `"route":{"cluster":"one"}`),
		route1(`"prefix":"/direct"`, `"direct_response":{"status":418,"body":{"inline_string":"teapot"}}`),
		route1(`"prefix":"/bare"`, `"direct_response":{"status":204}`),
		route1(`"prefix":"/away"`, `"redirect":{"https_redirect":true,"host_redirect":"new.test","prefix_rewrite":"/here","response_code":"FOUND"}`),
		route1(`"prefix":"/none"`, `"route":{"cluster":"unknown"}`),
		route1(`"prefix":"/named"`, `"route":{"cluster_header":"x-cluster"}`),
		route1(`"prefix":"/g","grpc":{}`, `"route":{"cluster":"two"}`),
		route1(`"prefix":"/v","headers":[{"name":"n","range_match":{"start":1,"end":3}},{"name":"gone","present_match":true,"invert_match":true}]`, `"route":{"cluster":"two"}`),
	}, ","), "", "")
	f.backend(t, "one", telling("one"))
	f.backend(t, "two", telling("two"))
	c := client(t)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	host := strings.TrimPrefix(f.base, "http://")
	tests := map[string]struct {
		path   string
		header []string
		code   int
		body   string
	}{
		"all criteria":       {"/x/z?q=1", []string{"a", "", "d", "gone", "b", "old"}, 200, "one " + host + `/y/z?q=1 b=[HTTP/1.1] s=[1] d=""`},
		"header missing":     {"/x/z?q=1", nil, 404, ""},
		"query missing":      {"/x/z", []string{"a", "1"}, 404, ""},
		"regex and rewrite":  {"/r12?k", nil, 200, `two other.test/n/12?k b=[] s=[] d=""`},
		"regex is whole":     {"/r12/x", nil, 404, ""},
		"exact":              {"/exact?a=b", nil, 200, "one " + host + `/exact?a=b b=[] s=[] d=""`},
		"exact only":         {"/exact/", nil, 404, ""},
		"separated prefix":   {"/sep/a", nil, 200, "one " + host + `/s/a b=[] s=[] d=""`},
		"not separated":      {"/separate", nil, 404, ""},
		"any case":           {"/caseX", nil, 200, "one " + host + `/caseX b=[] s=[] d=""`},
		"direct response":    {"/direct", nil, 418, "teapot"},
		"no body":            {"/bare", nil, 204, ""},
		"redirect":           {"/away/a?b=c", nil, 302, ""},
		"unknown cluster":    {"/none", nil, 503, ""},
		"cluster by header":  {"/named", []string{"x-cluster", "two"}, 200, "two " + host + `/named b=[] s=[] d=""`},
		"grpc only":          {"/g", nil, 404, ""},
		"range":              {"/v", []string{"n", "2"}, 200, "two " + host + `/v b=[] s=[] d=""`},
		"outside of range":   {"/v", []string{"n", "3"}, 404, ""},
		"must not be there":  {"/v", []string{"n", "2", "gone", "x"}, 404, ""},
		"no route":           {"/", nil, 404, ""},
		"percent is kept":    {"/exact%2Fx", nil, 404, ""},
		"case is kept there": {"/CASE%20a", nil, 200, "one " + host + `/CASE%20a b=[] s=[] d=""`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, body, header := get(t, c, f.base+test.path, test.header...)
			if code != test.code || body != test.body {
				t.Errorf("%d %q, want %d %q", code, body, test.code, test.body)
			}
			if header.Get("Server") != "envoy" {
				t.Errorf("server: %q", header.Get("Server"))
			}
			if name == "all criteria" && (header.Get("R") != "v" || header.Get("X-App") != "") {
				t.Errorf("response headers %v", header)
			}
			if name == "redirect" && header.Get("Location") != "https://new.test/here/a?b=c" {
				t.Errorf("location %q", header.Get("Location"))
			}
		})
	}
	for name, want := range map[string]int64{"no_route": 10, "no_cluster": 1, "rq_direct_response": 2, "rq_redirect": 1} {
		if got := stat(f.e, "http.front."+name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
}

func TestVirtualHosts(t *testing.T) {
	t.Parallel()
	direct := func(name, domains string) string {
		return `{"name":"` + name + `","domains":[` + domains + `],"routes":[{"match":{"prefix":"/"},"direct_response":{"status":200,"body":{"inline_string":"` + name + `"}}}]}`
	}
	e := newEngine(t)
	setListener(t, e, httpListener("front", `"route_config":{"name":"r","ignore_port_in_host_matching":true,"virtual_hosts":[`+
		direct("exact", `"a.test"`)+","+direct("suffix", `"*.a.test"`)+","+direct("longer", `"*.b.a.test"`)+","+direct("prefix", `"c.*"`)+","+direct("rest", `"*"`)+`]}`, "", ""))
	c := client(t)
	for host, want := range map[string]string{
		"a.test": "exact", "A.test:80": "exact", "x.a.test": "suffix", "x.b.a.test": "longer", "c.org": "prefix", "d.org": "rest",
	} {
		if _, got, _ := get(t, c, "http://"+listenAddr(t, e, "front")+"/", "Host", host); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

func TestPathOptions(t *testing.T) {
	t.Parallel()
	f := newFront(t, route1(`"prefix":"/"`, `"route":{"cluster":"app"}`), "",
		`,"normalize_path":true,"merge_slashes":true,"path_with_escaped_slashes_action":"REJECT_REQUEST","common_http_protocol_options":{"headers_with_underscores_action":"REJECT_REQUEST"}`)
	f.backend(t, "app", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.RequestURI()) })
	for path, want := range map[string]string{
		"/a/../b": "/b", "/a/./b//c": "/a/b/c", "/%7Euser": "/~user", "/a%2Fb": "400", "/../x": "/x", "/a/..": "/", "/%C3%A4": "/%C3%A4",
	} {
		// A raw request, because Go's client would clean the path itself.
		answer := rawRequest(t, strings.TrimPrefix(f.base, "http://"), "GET "+path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if want == "400" && !strings.HasPrefix(answer, "HTTP/1.1 400 ") || want != "400" && !strings.HasSuffix(answer, "\r\n\r\n"+want) {
			t.Errorf("%s: want %s, got %q", path, want, answer)
		}
	}
	answer := rawRequest(t, strings.TrimPrefix(f.base, "http://"), "GET / HTTP/1.1\r\nHost: h\r\na_b: c\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("underscore: %q", answer)
	}
}

func rawRequest(t testing.TB, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestUpstreamFailures(t *testing.T) {
	t.Parallel()
	f := newFront(t, strings.Join([]string{
		route1(`"prefix":"/refused"`, `"route":{"cluster":"refused"}`),
		route1(`"prefix":"/empty"`, `"route":{"cluster":"empty"}`),
		route1(`"prefix":"/slow"`, `"route":{"cluster":"slow","timeout":"0.05s"}`),
		route1(`"prefix":"/cut"`, `"route":{"cluster":"cut"}`),
		route1(`"prefix":"/full"`, `"route":{"cluster":"full"}`),
		route1(`"prefix":"/idle"`, `"route":{"cluster":"slow","idle_timeout":"0.05s","timeout":"0s"}`),
		route1(`"prefix":"/try"`, `"route":{"cluster":"slow","retry_policy":{"num_retries":0,"per_try_timeout":"0.05s"}}`),
	}, ","), "", "")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(free.Addr().String(), ":")
	free.Close()
	setCluster(t, f.e, staticCluster("refused", host, port))
	setCluster(t, f.e, `{"name":"empty","type":"STATIC","load_assignment":{"cluster_name":"empty"}}`)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	f.backend(t, "slow", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	f.backend(t, "cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	setCluster(t, f.e, `{"name":"full","type":"STATIC","circuit_breakers":{"thresholds":[{"max_connections":0,"max_pending_requests":0}]},"load_assignment":{"cluster_name":"full","endpoints":[{"lb_endpoints":[`+lbEndpoint(host, port)+`]}]}}`)
	const prefix = "upstream connect error or disconnect/reset before headers. reset reason: "
	tests := map[string]struct {
		path, body string
		code       int
		counter    string
	}{
		"refused":      {"/refused", prefix + "remote connection failure, transport failure reason: delayed connect error: Connection refused", 503, "cluster.refused.upstream_cx_connect_fail"},
		"no endpoint":  {"/empty", "no healthy upstream", 503, "cluster.empty.upstream_cx_none_healthy"},
		"timeout":      {"/slow", "upstream request timeout", 504, "cluster.slow.upstream_rq_timeout"},
		"cut":          {"/cut", prefix + "connection termination", 503, "cluster.cut.upstream_rq_rx_reset"},
		"overflow":     {"/full", prefix + "overflow", 503, "cluster.full.upstream_rq_pending_overflow"},
		"idle":         {"/idle", "stream timeout", 504, ""},
		"per try time": {"/try", "upstream request timeout", 504, "cluster.slow.upstream_rq_per_try_timeout"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, body, _ := get(t, client(t), f.base+test.path)
			if code != test.code || body != test.body {
				t.Errorf("%d %q, want %d %q", code, body, test.code, test.body)
			}
			if test.counter != "" && stat(f.e, test.counter) != 1 {
				t.Errorf("%s = %d", test.counter, stat(f.e, test.counter))
			}
		})
	}
	_, _, header := get(t, client(t), f.base+"/empty", "Content-Type", "application/grpc")
	if header.Get("Grpc-Status") != "14" || header.Get("Grpc-Message") != "no healthy upstream" {
		t.Errorf("grpc: %v", header)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	f := newFront(t, route1(`"prefix":"/"`, `"route":{"cluster":"app","retry_policy":{"retry_on":"5xx,connect-failure","num_retries":3,"retry_back_off":{"base_interval":"0.001s"}}}`), "", "")
	var calls atomic.Int32
	f.backend(t, "app", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if calls.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
		fmt.Fprintf(w, "%s", body)
	})
	resp, err := client(t).Post(f.base+"/", "text/plain", strings.NewReader("again"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || string(body) != "again" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	for name, want := range map[string]int64{"upstream_rq_retry": 2, "upstream_rq_retry_success": 1, "upstream_rq_total": 3} {
		if got := stat(f.e, "cluster.app."+name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
	calls.Store(-10)
	if code, _, _ := get(t, client(t), f.base+"/"); code != 502 {
		t.Errorf("after all retries: %d", code)
	}
	if got := stat(f.e, "cluster.app.upstream_rq_retry_limit_exceeded"); got != 1 {
		t.Errorf("retry_limit_exceeded = %d", got)
	}
}

// TestEarlyResponse answers before the request's body has arrived; the body then ends after the exchange.
func TestEarlyResponse(t *testing.T) {
	t.Parallel()
	f := newFront(t, route1(`"prefix":"/"`, `"route":{"cluster":"app"}`), "", `,"request_timeout":"10s"`)
	f.backend(t, "app", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	for range 20 {
		resp, err := client(t).Post(f.base+"/", "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			continue // the connection may be cut before the answer is read, as with any proxy
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge && resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%d", resp.StatusCode)
		}
	}
}

// TestFiltersThatCannotRun expects a clear refusal rather than traffic past the filter.
func TestFiltersThatCannotRun(t *testing.T) {
	t.Parallel()
	f := newFront(t, route1(`"prefix":"/"`, `"direct_response":{"status":200}`),
		`{"name":"envoy.filters.http.lua","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua","default_source_code":{"inline_string":"function envoy_on_request(h) end"}}},`, "")
	code, body, _ := get(t, client(t), f.base+"/")
	if code != 500 || !strings.Contains(body, "envoy.filters.http.lua") {
		t.Errorf("%d %q", code, body)
	}
}

// TestUpgrade carries a websocket-like upgrade, and refuses one of another kind.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	f := newFront(t, route1(`"prefix":"/"`, `"route":{"cluster":"app"}`), "", `,"upgrade_configs":[{"upgrade_type":"websocket"}]`)
	f.backend(t, "app", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	defer resp.Body.Close()
	_, _ = io.WriteString(c, "hi\n")
	if line, err := r.ReadString('\n'); line != "echo hi\n" {
		t.Errorf("%q %v", line, err)
	}
	answer := rawRequest(t, strings.TrimPrefix(f.base, "http://"), "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: other\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 403 ") {
		t.Errorf("%q", answer)
	}
}

// TestRDS warms a listener until its routes arrive and changes them in flight.
func TestRDS(t *testing.T) {
	t.Parallel()
	var changes atomic.Int32
	e := newEngine(t, func(c *Config) { c.OnChange = func() { changes.Add(1) } })
	setListener(t, e, httpListener("front", `"rds":{"config_source":{"ads":{},"resource_api_version":"V3"},"route_config_name":"hapi"}`, "", ""))
	addr := listenAddr(t, e, "front")
	if got := e.RDSNames(); len(got) != 1 || got[0] != "hapi" {
		t.Fatalf("wanted: %v", got)
	}
	if _, warming := e.Warming(); len(warming) != 1 {
		t.Fatalf("warming: %v", warming)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Fatal("a warming listener accepts")
	}
	routes := func(status string) string {
		return `{"name":"hapi","virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},"direct_response":{"status":` + status + `}}]}]}`
	}
	before := changes.Load()
	setRoutes(t, e, routes("201"))
	if changes.Load() == before {
		t.Error("no notice of the change")
	}
	if code, _, _ := get(t, client(t), "http://"+addr); code != 201 {
		t.Errorf("first routes: %d", code)
	}
	setRoutes(t, e, routes("202"))
	e.RemoveRoutes("hapi") // in use: ignored
	if code, _, _ := get(t, client(t), "http://"+addr); code != 202 {
		t.Errorf("new routes: %d", code)
	}
	e.RemoveListener("front")
	if len(e.RDSNames()) != 0 || len(e.Listeners()) != 0 {
		t.Error("the removed listener is still there")
	}
	setListener(t, e, httpListener("front", `"rds":{"config_source":{"ads":{},"resource_api_version":"V3","initial_fetch_timeout":"0.02s"},"route_config_name":"hapi"}`, "", ""))
	eventually(t, "warming ends without routes", func() bool { _, w := e.Warming(); return len(w) == 0 })
	if code, _, _ := get(t, client(t), "http://"+listenAddr(t, e, "front")); code != 404 {
		t.Errorf("without routes: %d", code)
	}
}

// TestGRPCBridge calls a gRPC-like backend over HTTP/1.1.
func TestGRPCBridge(t *testing.T) {
	t.Parallel()
	f := newFront(t, route1(`"prefix":"/"`, `"route":{"cluster":"app"}`),
		`{"name":"envoy.filters.http.grpc_http1_bridge","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.grpc_http1_bridge.v3.Config"}},`, "")
	f.backend(t, "app", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Grpc-Status", r.Header.Get("want"))
	})
	for want, code := range map[string]int{"0": 200, "5": 503} {
		got, body, header := get(t, client(t), f.base+"/s/m", "Content-Type", "application/grpc", "want", want)
		if got != code || body != "body" || header.Get("Grpc-Status") != want {
			t.Errorf("%s: %d %q %v", want, got, body, header)
		}
	}
}
