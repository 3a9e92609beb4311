// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

const tcpFilter = `{"name":"envoy.filters.network.tcp_proxy","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"p","cluster":"c"}}`

// withFilters is a listener of one chain.
func withFilters(filters string) string {
	return `{"name":"l","address":` + socketJSON("127.0.0.1", "0") + `,"filter_chains":[{"filters":[` + filters + `]}]}`
}

func withSocket(socket string) string {
	return `{"name":"l","address":` + socketJSON("127.0.0.1", "0") + `,"filter_chains":[{"filters":[` + tcpFilter + `],"transport_socket":{"name":"tls","typed_config":` + socket + `}}]}`
}

// TestRefusals gives resources that Envoy, or the stand-in for want of a feature, must refuse, with what the error names.
func TestRefusals(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() }) // not deferred: the cases run after this function
	_, busyPort, _ := strings.Cut(busy.Addr().String(), ":")
	ca := newAuthority(t)
	cert, _ := ca.leaf(t, "spiffe://a/b")
	_, otherKey := ca.leaf(t, "spiffe://a/c")
	const down = `{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext","common_tls_context":`
	hcm := func(routes, filters string) string { return withFilters(hcmJSON("h", routes, filters, "")) }
	route := func(r string) string {
		return `{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":[` + r + `]}]}`
	}
	tests := map[string]struct{ kind, text, want string }{
		"cluster without name":     {"CDS", `{"type":"STATIC"}`, "Proto constraint validation failed"},
		"static with a host name":  {"CDS", strings.Replace(staticCluster("c", "1.2.3.4", "1"), "1.2.3.4", "name.test", 1), "malformed IP address: name.test"},
		"unknown cluster type":     {"CDS", `{"name":"c","cluster_type":{"name":"envoy.clusters.new","typed_config":{"@type":"type.googleapis.com/google.protobuf.StringValue","value":"x"}},"lb_policy":"CLUSTER_PROVIDED"}`, "envoy.clusters.new"},
		"aggregate with a policy":  {"CDS", `{"name":"c","cluster_type":{"name":"envoy.clusters.aggregate","typed_config":{"@type":"type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig","clusters":["a"]}}}`, "CLUSTER_PROVIDED"},
		"original dst, policy":     {"CDS", `{"name":"c","type":"ORIGINAL_DST"}`, "CLUSTER_PROVIDED"},
		"static, provided policy":  {"CDS", `{"name":"c","type":"STATIC","lb_policy":"CLUSTER_PROVIDED"}`, "LB policy CLUSTER_PROVIDED"},
		"eds from elsewhere":       {"CDS", `{"name":"c","type":"EDS","eds_cluster_config":{"eds_config":{"self":{}}}}`, "envoy.config.core.v3.ConfigSource.self is not supported"},
		"eds without source":       {"CDS", `{"name":"c","type":"EDS"}`, "eds_config"},
		"eds config in static":     {"CDS", `{"name":"c","type":"STATIC","eds_cluster_config":{"eds_config":{"ads":{}}}}`, "eds_cluster_config set in a non-EDS cluster"},
		"dns without hosts":        {"CDS", `{"name":"c","type":"STRICT_DNS"}`, "load_assignment"},
		"logical dns, two hosts":   {"CDS", `{"name":"c","type":"LOGICAL_DNS","load_assignment":{"cluster_name":"c","endpoints":[{"lb_endpoints":[` + lbEndpoint("a.test", "1") + "," + lbEndpoint("b.test", "1") + `]}]}}`, "LOGICAL_DNS"},
		"health checks":            {"CDS", `{"name":"c","type":"STATIC","health_checks":[{"timeout":"1s","interval":"1s","unhealthy_threshold":1,"healthy_threshold":1,"tcp_health_check":{}}]}`, "envoy.config.cluster.v3.Cluster.health_checks is not supported"},
		"upstream, wrong socket":   {"CDS", `{"name":"c","type":"STATIC","transport_socket":{"name":"tls","typed_config":` + down + `{}}}}`, "DownstreamTlsContext"},
		"upstream, bad cipher":     {"CDS", `{"name":"c","type":"STATIC","transport_socket":{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","common_tls_context":{"tls_params":{"cipher_suites":["ROT13"]}}}}}`, "ROT13"},
		"names without CA":         {"CDS", `{"name":"c","type":"STATIC","transport_socket":{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","common_tls_context":{"validation_context":{"match_typed_subject_alt_names":[{"san_type":"URI","matcher":{"exact":"x"}}]}}}}}`, "without trusted CA"},
		"bad CA":                   {"CDS", `{"name":"c","type":"STATIC","transport_socket":{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","common_tls_context":{"validation_context":{"trusted_ca":{"inline_string":"x"}}}}}}`, "Failed to load trusted CA certificates from <inline>"},
		"endpoint by name":         {"EDS", `{"cluster_name":"c","endpoints":[{"lb_endpoints":[` + lbEndpoint("name.test", "1") + `]}]}`, "malformed IP address: name.test"},
		"endpoint without address": {"EDS", `{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{}}]}]}`, "address is missing"},
		"assignment without name":  {"EDS", `{}`, "Proto constraint validation failed"},
		"endpoint by reference":    {"EDS", `{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint_name":"x"}]}]}`, "endpoint_name is not supported"},
		"address taken":            {"LDS", strings.Replace(withFilters(tcpFilter), `"port_value":0`, `"port_value":`+busyPort, 1), "cannot bind '127.0.0.1:" + busyPort},
		"listener by name":         {"LDS", strings.Replace(withFilters(tcpFilter), "127.0.0.1", "name.test", 1), "malformed IP address"},
		"no filter chain":          {"LDS", `{"name":"l","address":` + socketJSON("127.0.0.1", "0") + `}`, "no filter chains specified"},
		"udp":                      {"LDS", strings.Replace(withFilters(tcpFilter), `"address":"127.0.0.1"`, `"protocol":"UDP","address":"127.0.0.1"`, 1), "UDP"},
		"unknown network filter":   {"LDS", withFilters(`{"name":"envoy.filters.network.echo","typed_config":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{}}}`), "Didn't find a registered implementation for 'envoy.filters.network.echo'"},
		"http filter as network":   {"LDS", withFilters(`{"name":"odd","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}`), "'odd'"},
		"terminal filter first":    {"LDS", withFilters(tcpFilter + "," + tcpFilter), "must be the last filter in a network filter chain"},
		"no terminal filter":       {"LDS", withFilters(`{"name":"s","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.sni_cluster.v3.SniCluster"}}`), "is the last filter in a network filter chain"},
		"same match twice":         {"LDS", `{"name":"l","address":` + socketJSON("127.0.0.1", "0") + `,"filter_chains":[{"filters":[` + tcpFilter + `]},{"filters":[` + tcpFilter + `]}]}`, "same matching rules"},
		"unknown listener filter":  {"LDS", strings.Replace(withFilters(tcpFilter), `"filter_chains"`, `"listener_filters":[{"name":"odd","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],"filter_chains"`, 1), "'odd'"},
		"no certificate":           {"LDS", withSocket(down + `{}}`), "Server TlsCertificates must have a certificate specified"},
		"bad certificate":          {"LDS", withSocket(down + `{"tls_certificates":[` + pairJSON("x", "y") + `]}}`), "Failed to load certificate chain from <inline>"},
		"key of another":           {"LDS", withSocket(down + `{"tls_certificates":[` + pairJSON(cert, otherKey) + `]}}`), "Failed to load private key from <inline>"},
		"file missing":             {"LDS", withSocket(down + `{"tls_certificates":[{"certificate_chain":{"filename":"/nowhere.pem"},"private_key":{"filename":"/nowhere.key"}}]}}`), "/nowhere.pem"},
		"unknown secret":           {"LDS", withSocket(down + `{"tls_certificate_sds_secret_configs":[{"name":"lost"}]}}`), "'lost'"},
		"secret from a server":     {"LDS", withSocket(down + `{"tls_certificate_sds_secret_configs":[{"name":"x","sds_config":{"ads":{}}}]}}`), "sds_config is not supported"},
		"router not last":          {"LDS", strings.Replace(hcm(`"route_config":{}`, ""), `"http_filters":[`, `"http_filters":[{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},`, 1), "must be the last filter in a http filter chain"},
		"filter after router":      {"LDS", strings.Replace(hcm(`"route_config":{}`, ""), `Router"}}]`, `Router"}},{"name":"g","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"}}]`, 1), "filter"},
		"unknown http filter":      {"LDS", hcm(`"route_config":{}`, `{"name":"envoy.filters.http.fault","typed_config":{"@type":"type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"}},`), "envoy.filters.http.fault"},
		"bad rbac regex":           {"LDS", hcm(`"route_config":{}`, `{"name":"x","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC","rules":{"policies":{"p":{"permissions":[{"any":true}],"principals":[{"authenticated":{"principal_name":{"safe_regex":{"regex":"("}}}}]}}}}},`), "policy p"},
		"rbac condition":           {"LDS", hcm(`"route_config":{}`, `{"name":"x","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC","rules":{"policies":{"p":{"permissions":[{"any":true}],"principals":[{"any":true}],"condition":{"id":"1"}}}}}},`), "envoy.config.rbac.v3.Policy.condition is not supported"},
		"rds from elsewhere":       {"LDS", hcm(`"rds":{"config_source":{"self":{}},"route_config_name":"r"}`, ""), "envoy.config.core.v3.ConfigSource.self is not supported"},
		"bad access log operator":  {"LDS", withFilters(strings.Replace(tcpFilter, `"cluster":"c"`, `"cluster":"c","access_log":[{"name":"a","typed_config":{"@type":"type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog","log_format":{"text_format_source":{"inline_string":"%MOOD%"}}}}]`, 1)), "MOOD"},
		"listener field":           {"LDS", strings.Replace(withFilters(tcpFilter), `"filter_chains"`, `"freebind":true,"filter_chains"`, 1), "envoy.config.listener.v3.Listener.freebind is not supported"},
		"route mirrors":            {"RDS", route(`{"match":{"prefix":"/"},"route":{"cluster":"c","request_mirror_policies":[{"cluster":"d"}]}}`), "envoy.config.route.v3.RouteAction.request_mirror_policies is not supported"},
		"bad regex":                {"RDS", route(`{"match":{"safe_regex":{"regex":"("}},"route":{"cluster":"c"}}`), "invalid regex"},
		"no action":                {"RDS", route(`{"match":{"prefix":"/"}}`), "Proto constraint"},
		"weights of zero":          {"RDS", route(`{"match":{"prefix":"/"},"route":{"weighted_clusters":{"clusters":[{"name":"a","weight":0}]}}}`), "Sum of weights"},
		"two rewrites":             {"RDS", route(`{"match":{"prefix":"/"},"route":{"cluster":"c","prefix_rewrite":"/","regex_rewrite":{"pattern":{"regex":"a"},"substitution":"b"}}}`), "only one of prefix_rewrite or regex_rewrite"},
		"unknown retry condition":  {"RDS", route(`{"match":{"prefix":"/"},"route":{"cluster":"c","retry_policy":{"retry_on":"full-moon"}}}`), "full-moon"},
		"header that may not":      {"RDS", route(`{"match":{"prefix":"/"},"route":{"cluster":"c"},"request_headers_to_add":[{"header":{"key":":path","value":"x"}}]}`), ":-prefixed"},
		"domain twice":             {"RDS", `{"name":"r","virtual_hosts":[{"name":"a","domains":["x"]},{"name":"b","domains":["x"]}]}`, "Only unique values for domains"},
		"virtual host twice":       {"RDS", `{"name":"r","virtual_hosts":[{"name":"a","domains":["x"]},{"name":"a","domains":["y"]}]}`, "Only unique names for virtual hosts"},
		"secret of another kind":   {"SDS", `{"name":"s","session_ticket_keys":{"keys":[{"inline_string":"x"}]}}`, "session_ticket_keys is not supported"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			var err error
			switch test.kind {
			case "CDS":
				err = e.UpdateCluster(parse(t, &clusterv3.Cluster{}, test.text))
			case "EDS":
				err = e.UpdateEndpoints(parse(t, &endpointv3.ClusterLoadAssignment{}, test.text))
			case "LDS":
				err = e.UpdateListener(parse(t, &listenerv3.Listener{}, test.text))
			case "RDS":
				err = e.UpdateRoutes(parse(t, &routev3.RouteConfiguration{}, test.text))
			case "SDS":
				err = e.AddSecret(parse(t, &tlsv3.Secret{}, test.text))
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if n := len(e.Clusters()) + len(e.Listeners()) + len(e.RDSNames()) + len(e.EDSNames()); n != 0 {
				t.Errorf("the refused resource left something: %v %v", e.Clusters(), e.Listeners())
			}
		})
	}
}

// TestRefusedUpdateChangesNothing expects the accepted version to serve on.
func TestRefusedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	host, port, _ := strings.Cut(echo(t), ":")
	setCluster(t, e, staticCluster("c", host, port))
	setListener(t, e, withFilters(tcpFilter))
	addr := listenAddr(t, e, "l")
	if err := e.UpdateListener(parse(t, &listenerv3.Listener{}, withSocket(`{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext","common_tls_context":{}}`))); err == nil {
		t.Fatal("accepted")
	}
	if err := e.UpdateCluster(parse(t, &clusterv3.Cluster{}, `{"name":"c","type":"ORIGINAL_DST"}`)); err == nil {
		t.Fatal("accepted")
	}
	if got, err := say(addr, "still"); got != "still" {
		t.Errorf("%q %v", got, err)
	}
}

// TestDuplicateAddress refuses a second listener on an address.
func TestDuplicateAddress(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	path := filepath.Join(t.TempDir(), "s")
	pipe := func(name string) string {
		return strings.Replace(strings.Replace(withFilters(tcpFilter), socketJSON("127.0.0.1", "0"), `{"pipe":{"path":"`+path+`","mode":448}}`, 1), `"l"`, `"`+name+`"`, 1)
	}
	setListener(t, e, pipe("one"))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	err := e.UpdateListener(parse(t, &listenerv3.Listener{}, pipe("two")))
	if err == nil || !strings.Contains(err.Error(), "has duplicate address '"+path) {
		t.Errorf("error %v", err)
	}
	e.RemoveListener("one")
	setListener(t, e, pipe("two"))
}

func FuzzListener(f *testing.F) {
	for _, path := range modes(f) {
		for _, s := range readMode(f, path, newAuthority(f)) {
			if s.Type == "LDS" {
				f.Add([]byte(s.Resource))
				break
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := &listenerv3.Listener{}
		if parseQuietly(l, text) != nil {
			return
		}
		// Compiled, but not bound: the fuzzer would take any port.
		if check(l) != nil {
			return
		}
		e := New(Config{})
		if compiled, err := newListener(l, e, nil); err == nil {
			compiled.discard(nil)
		}
		e.life.end()
		if err := e.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
