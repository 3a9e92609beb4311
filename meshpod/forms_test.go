// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestUpstreamForms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text     string
		want     []Upstream
		variable string
	}{
		"service":       {"static-server:1234", []Upstream{{Name: "static-server", LocalPort: 1234}}, "STATIC_SERVER"},
		"datacenter":    {"db:1234:dc2", []Upstream{{Name: "db", LocalPort: 1234, Datacenter: "dc2"}}, "DB_DC2"},
		"namespace":     {"db.ns1:1234", []Upstream{{Name: "db", Namespace: "ns1", LocalPort: 1234}}, "DB_NS1"},
		"partition":     {"db.ns1.ap1:1", []Upstream{{Name: "db", Namespace: "ns1", Partition: "ap1", LocalPort: 1}}, "DB_NS1_AP1"},
		"labelled":      {"db.svc:1234", []Upstream{{Name: "db", LocalPort: 1234}}, "DB"},
		"labelled dc":   {"db.svc.dc2.dc:1234", []Upstream{{Name: "db", Datacenter: "dc2", LocalPort: 1234}}, "DB_DC2"},
		"labelled ns":   {"db.svc.n.ns:1234", []Upstream{{Name: "db", Namespace: "n", LocalPort: 1234}}, "DB_N"},
		"labelled peer": {"db.svc.n.ns.p.peer:1234", []Upstream{{Name: "db", Namespace: "n", Peer: "p", LocalPort: 1234}}, "DB_N_P"},
		"labelled ap":   {"db.svc.n.ns.p.ap:1234", []Upstream{{Name: "db", Namespace: "n", Partition: "p", LocalPort: 1234}}, "DB_N_P"},
		"query":         {"prepared_query:near-db:1234", []Upstream{{Name: "near-db", PreparedQuery: true, LocalPort: 1234}}, "NEAR_DB"},
		"digit":         {"3scale:1234", []Upstream{{Name: "3scale", LocalPort: 1234}}, "_3SCALE"},
		"gateway": {
			"db:1234:dc2:mesh_gateway_mode=local:local_bind_address=127.0.0.2",
			[]Upstream{{Name: "db", Datacenter: "dc2", LocalPort: 1234, MeshGateway: "local", LocalAddress: "127.0.0.2"}}, "DB_DC2",
		},
		"IPv6": {
			"db:1234:local_bind_address=[::1]:datacenter=dc2",
			[]Upstream{{Name: "db", Datacenter: "dc2", LocalPort: 1234, LocalAddress: "::1"}}, "DB_DC2",
		},
		"several": {
			"a:1, b:2\nprepared_query:c:3",
			[]Upstream{{Name: "a", LocalPort: 1}, {Name: "b", LocalPort: 2}, {Name: "c", PreparedQuery: true, LocalPort: 3}}, "A",
		},
		"one port on two addresses": {
			"a:1:local_bind_address=127.0.0.2,b:1",
			[]Upstream{{Name: "a", LocalPort: 1, LocalAddress: "127.0.0.2"}, {Name: "b", LocalPort: 1}}, "A",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustParse(t, map[string]string{AnnotationUpstreams: tt.text})
			if !reflect.DeepEqual(p.Upstreams, tt.want) {
				t.Errorf("got %+v, want %+v", p.Upstreams, tt.want)
			}
			if got := p.Upstreams[0].Variable(); got != tt.variable {
				t.Errorf("variable %s, want %s", got, tt.variable)
			}
		})
	}
}

func TestSeveralServices(t *testing.T) {
	t.Parallel()
	p := mustParse(t, map[string]string{
		AnnotationService: "web, web-admin", AnnotationServicePort: "http,9090",
		AnnotationMetrics: "true", AnnotationMetricsMerging: "true", AnnotationServiceMetricsPort: "metrics,0",
		AnnotationGracefulPort: "20700",
	})
	want := []Service{
		{Index: 0, Name: "web", Port: 8080, MetricsPort: 9102, Ports: Ports{Public: 20000, Admin: 19000, Lifecycle: 20700, Merge: 20100, Ready: 21000, Scrape: 20200}},
		{Index: 1, Name: "web-admin", Port: 9090, Ports: Ports{Public: 20001, Admin: 19001, Lifecycle: 20701, Merge: 20101, Ready: 21001, Scrape: 20201}},
	}
	if !reflect.DeepEqual(p.Services, want) {
		t.Errorf("got %+v, want %+v", p.Services, want)
	}
	if got := p.PrometheusBindAddr(p.Services[1]); got != "0.0.0.0:20201" {
		t.Errorf("Prometheus at %s", got)
	}
	if _, problems := Parse(newPod(map[string]string{
		AnnotationService:     strings.TrimSuffix(strings.Repeat("a,", MaxServices+1), ","),
		AnnotationServicePort: strings.TrimSuffix(strings.Repeat("1,", MaxServices+1), ","),
	}), Standard()); problems.Err() == nil || !strings.Contains(problems.Err().Error(), "are too many") {
		t.Errorf("too many services: %v", problems.Err())
	}
}

func TestPortsOfOneService(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		annotations map[string]string
		want        int
	}{
		"first of the container": {nil, 8080},
		"by name":                {map[string]string{AnnotationServicePort: "metrics"}, 9102},
		"not declared":           {map[string]string{AnnotationServicePort: "7000"}, 7000},
		"default by name":        {map[string]string{AnnotationServiceDefaultPort: "metrics"}, 9102},
		"default of a list":      {map[string]string{AnnotationServicePort: "http,metrics", AnnotationServiceDefaultPort: "9102"}, 9102},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := mustParse(t, tt.annotations).Services[0].Port; got != tt.want {
				t.Errorf("port %d, want %d", got, tt.want)
			}
		})
	}
	pod := newPod(nil)
	pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 53, Protocol: corev1.ProtocolUDP}}
	if p, problems := Parse(pod, Standard()); problems.Err() != nil || p.Services[0].Port != 0 {
		t.Errorf("a pod without TCP ports: %+v, %v", p.Services, problems)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	p := mustParse(t, map[string]string{AnnotationService: "a,b", AnnotationServicePort: "1,2"})
	seen := map[string]string{}
	for _, pod := range [][2]string{{"ns", "p"}, {"ns", "p-0"}, {"ns", "p.q"}, {"ns-p", "q"}, {"n", "s.p"}, {"ns", "p-0-sidecar-proxy"}} {
		for _, s := range p.Services {
			for _, id := range []string{p.ServiceID(pod[0], pod[1], s), p.ProxyID(pod[0], pod[1], s)} {
				owner := pod[0] + "/" + pod[1]
				if other, taken := seen[id]; taken {
					t.Errorf("%s is the ID of %s and of %s", id, other, owner)
				}
				seen[id] = owner
			}
		}
	}
	namespace, name := Own()
	if got := p.ProxyID(namespace, name, p.Services[1]); got != "$(POD_NAMESPACE).$(POD_NAME)-1-sidecar-proxy" {
		t.Errorf("own proxy ID %s", got)
	}
}

func TestCompatIDs(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ service, account, want string }{
		"annotation": {"shop", "web", "web-0-shop-sidecar-proxy"},
		"account":    {"", "web", "web-0-web-sidecar-proxy"},
		"neither":    {"", "", ""},
		"no name":    {"", "web.shop", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := newPod(map[string]string{AnnotationService: tt.service, AnnotationIDForm: string(IDCompat)})
			pod.Spec.ServiceAccountName = tt.account
			p, problems := Parse(pod, Standard())
			if tt.want == "" {
				if problems.Err() == nil || !strings.Contains(problems.Err().Error(), "must name the service") {
					t.Errorf("got %v", problems.Err())
				}
				return
			}
			if got := p.ProxyID(pod.Namespace, pod.Name, p.Services[0]); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			// A Service that turns up later must not change the ID's name.
			if p.NameOf(p.Services[0], "other") == "other" {
				t.Error("the Service names it")
			}
		})
	}
}

func TestTagsAndMeta(t *testing.T) {
	t.Parallel()
	p := mustParse(t, map[string]string{
		AnnotationTags: `a, b\,c,$POD_NAME,a`, AnnotationMetaPrefix + "pod": "$POD_NAME", AnnotationMetaPrefix + "x": "$POD_NAMESPACE",
		AnnotationProxyConfig: `{"local_connect_timeout_ms": 1000}`,
	})
	if got := p.TagsOf("web-0"); !slices.Equal(got, []string{"a", "b,c", "web-0"}) {
		t.Errorf("tags %q", got)
	}
	if got := p.MetaOf("web-0"); !maps.Equal(got, map[string]string{"pod": "web-0", "x": "$POD_NAMESPACE"}) {
		t.Errorf("meta %q", got)
	}
	if p.Meta["pod"] != "$POD_NAME" {
		t.Error("the pod's own meta was changed")
	}
	if got := p.ProxyConfig["local_connect_timeout_ms"]; got != 1000.0 {
		t.Errorf("proxy config %v", p.ProxyConfig)
	}
}

func TestDestination(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		d           Destination
		want, login string
	}{
		"no namespaces": {Destination{Namespace: "x", Mirror: true}, "", ""},
		"none given":    {Destination{Enabled: true}, "default", "default"},
		"single":        {Destination{Enabled: true, Namespace: "mesh"}, "mesh", "mesh"},
		"mirror":        {Destination{Enabled: true, Namespace: "mesh", Mirror: true}, "shop", "default"},
		"prefix":        {Destination{Enabled: true, Mirror: true, Prefix: "k8s-"}, "k8s-shop", "default"},
	} {
		if got := tt.d.For("shop"); got != tt.want {
			t.Errorf("%s: namespace %q, want %q", name, got, tt.want)
		}
		if got := tt.d.LoginFor("shop"); got != tt.login {
			t.Errorf("%s: login in %q, want %q", name, got, tt.login)
		}
	}
}

// TestAnnotationWinsOverDefault sets every default to something else and sees
// that annotations win.
func TestAnnotationWinsOverDefault(t *testing.T) {
	t.Parallel()
	pod := newPod(Standard().annotations())
	want, problems := Parse(pod, Standard())
	if problems.Err() != nil {
		t.Fatal(problems.Err())
	}
	got, _ := Parse(pod, Defaults{
		IDForm: IDCompat, Metrics: true, MetricsMerging: true, ScrapePort: 3000, MergePort: 3001, ScrapePath: "/a", ServicePath: "/b",
		GracefulPort: 3002, ShutdownPath: "/c", StartupPath: "/d", ShutdownGrace: 7, StartupGrace: 8, StartupFailure: 9, LivenessFailure: 10,
		InitialDelay: 11, Period: 12, FailureThreshold: 13, Timeout: 14, Concurrency: 15,
	})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, valid := range map[string]bool{
		"web": true, "web_1": true, "Web": true, "": false, "-web": false, "web-": false, "we b": false, "wéb": false,
		"web.shop": false, strings.Repeat("a", maxServiceName+1): false,
	} {
		if validServiceName(name) != valid {
			t.Errorf("%q: want valid %t", name, valid)
		}
	}
	if got := ProxyName("web"); got != "web-sidecar-proxy" {
		t.Errorf("proxy name %s", got)
	}
	long := Problem{Name: "x", Value: strings.Repeat("é", 200), Reason: "is long"}
	if got := long.String(); len(got) > 300 || !strings.Contains(got, "…") || strings.Contains(got, `\x`) {
		t.Errorf("a long value is shown as %s", got)
	}
}
