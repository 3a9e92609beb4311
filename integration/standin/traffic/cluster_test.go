// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

const edsText = `{"name":"c","type":"EDS","eds_cluster_config":{"eds_config":{"ads":{},"resource_api_version":"V3"},"service_name":"svc"},"common_lb_config":{"healthy_panic_threshold":{}}%s}`

// weightedEndpoints is an assignment of "svc"; each item is "port health weight priority".
func weightedEndpoints(items ...string) string {
	byPriority := map[string][]string{}
	for _, item := range items {
		f := strings.Fields(item)
		byPriority[f[3]] = append(byPriority[f[3]], `{"endpoint":{"address":`+socketJSON("127.0.0.1", f[0])+`},"health_status":"`+f[1]+`","load_balancing_weight":`+f[2]+`}`)
	}
	var groups []string
	for p, list := range byPriority {
		groups = append(groups, `{"priority":`+p+`,"lb_endpoints":[`+strings.Join(list, ",")+`]}`)
	}
	return `{"cluster_name":"svc","endpoints":[` + strings.Join(groups, ",") + `]}`
}

// picks counts the choices of n picks by port.
func picks(e *Engine, n int, ctx lbContext) map[string]int {
	got := map[string]int{}
	for range n {
		port := "none"
		if ep := e.clusters.get("c").pick(ctx); ep != nil {
			_, port, _ = net.SplitHostPort(ep.address.target)
		}
		got[port]++
	}
	return got
}

func TestBalancing(t *testing.T) {
	t.Parallel()
	near := func(want int) func(int) bool { return func(got int) bool { return got > want-120 && got < want+120 } }
	exactly := func(want int) func(int) bool { return func(got int) bool { return got == want } }
	tests := map[string]struct {
		options   string
		endpoints []string
		hash      uint64
		want      map[string]func(int) bool
	}{
		"round robin by weight":  {"", []string{"1 HEALTHY 3 0", "2 HEALTHY 1 0"}, 0, map[string]func(int) bool{"1": exactly(750), "2": exactly(250)}},
		"random by weight":       {`,"lb_policy":"RANDOM"`, []string{"1 HEALTHY 3 0", "2 HEALTHY 1 0"}, 0, map[string]func(int) bool{"1": near(750), "2": near(250)}},
		"least request":          {`,"lb_policy":"LEAST_REQUEST","least_request_lb_config":{"choice_count":5}`, []string{"1 HEALTHY 1 0", "2 HEALTHY 1 0"}, 0, map[string]func(int) bool{"1": near(500), "2": near(500)}},
		"hash without one":       {`,"lb_policy":"RING_HASH"`, []string{"1 HEALTHY 1 0", "2 HEALTHY 1 0"}, 0, map[string]func(int) bool{"1": near(500), "2": near(500)}},
		"unhealthy left out":     {"", []string{"1 UNHEALTHY 1 0", "2 DRAINING 1 0", "3 TIMEOUT 1 0", "4 HEALTHY 1 0", "5 UNKNOWN 1 0"}, 0, map[string]func(int) bool{"4": exactly(500), "5": exactly(500)}},
		"failover":               {"", []string{"1 UNHEALTHY 1 0", "2 HEALTHY 1 1"}, 0, map[string]func(int) bool{"2": exactly(1000)}},
		"priority first":         {"", []string{"1 HEALTHY 1 0", "2 HEALTHY 1 1"}, 0, map[string]func(int) bool{"1": exactly(1000)}},
		"partial failover":       {"", []string{"1 HEALTHY 1 0", "3 UNHEALTHY 1 0", "2 HEALTHY 1 1"}, 0, map[string]func(int) bool{"1": near(700), "2": near(300)}},
		"none healthy, no panic": {"", []string{"1 UNHEALTHY 1 0"}, 0, map[string]func(int) bool{"none": exactly(1000)}},
		"panic":                  {`,"common_lb_config":{"healthy_panic_threshold":{"value":50}}`, []string{"1 UNHEALTHY 1 0", "2 UNHEALTHY 1 0"}, 0, map[string]func(int) bool{"1": exactly(500), "2": exactly(500)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			text := fmt.Sprintf(edsText, test.options)
			if strings.Contains(test.options, "common_lb_config") {
				text = strings.Replace(text, `,"common_lb_config":{"healthy_panic_threshold":{}}`, "", 1)
			}
			setCluster(t, e, text)
			setEndpoints(t, e, weightedEndpoints(test.endpoints...))
			got := picks(e, 1000, lbContext{})
			for port, ok := range test.want {
				if !ok(got[port]) {
					t.Errorf("%v", got)
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("%v", got)
			}
		})
	}
}

// TestConsistentHash expects a hash to stay with its host when another one goes, and hashes to spread.
func TestConsistentHash(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	setCluster(t, e, fmt.Sprintf(edsText, `,"lb_policy":"MAGLEV"`))
	all := []string{"1 HEALTHY 1 0", "2 HEALTHY 1 0", "3 HEALTHY 1 0"}
	setEndpoints(t, e, weightedEndpoints(all...))
	before, spread := map[uint64]string{}, map[string]int{}
	for h := range uint64(300) {
		for port := range picks(e, 1, lbContext{hash: mix(h), hashed: true}) {
			before[h] = port
			spread[port]++
		}
	}
	for port, n := range spread {
		if n < 50 {
			t.Errorf("port %s has only %d of 300", port, n)
		}
	}
	setEndpoints(t, e, weightedEndpoints(all[:2]...))
	for h, port := range before {
		if got := picks(e, 1, lbContext{hash: mix(h), hashed: true}); port != "3" && got[port] != 1 {
			t.Fatalf("hash %d moved from %s to %v", h, port, got)
		}
	}
}

func TestWarming(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	setCluster(t, e, fmt.Sprintf(edsText, ""))
	if clusters, _ := e.Warming(); !slices.Equal(clusters, []string{"c"}) || !slices.Equal(e.EDSNames(), []string{"svc"}) {
		t.Fatalf("warming %v, wanted %v", clusters, e.EDSNames())
	}
	if e.clusters.get("c") != nil {
		t.Error("serves before its endpoints are there")
	}
	setEndpoints(t, e, weightedEndpoints("1 HEALTHY 1 0"))
	first := e.clusters.get("c")
	setCluster(t, e, fmt.Sprintf(edsText, ""))
	if e.clusters.get("c") != first {
		t.Error("an equal update made a new cluster")
	}
	setCluster(t, e, fmt.Sprintf(edsText, `,"connect_timeout":"1s"`))
	if clusters, _ := e.Warming(); len(clusters) != 1 || e.clusters.get("c") != first {
		t.Error("the update does not warm beside the first version")
	}
	if got := e.Clusters(); len(got) != 2 || !got[1].Warming || got[0].EDSServiceName != "svc" {
		t.Errorf("%+v", got)
	}
	e.RemoveEndpoints("svc") // goes on without
	if clusters, _ := e.Warming(); len(clusters) != 0 || e.clusters.get("c") == first {
		t.Error("the update still warms")
	}
	if got := stat(e, "cluster.c.update_empty"); got != 2 {
		t.Errorf("update_empty = %d", got)
	}
	setEndpoints(t, e, weightedEndpoints("2 HEALTHY 1 0"))
	setCluster(t, e, fmt.Sprintf(strings.Replace(edsText, `"V3"`, `"V3","initial_fetch_timeout":"0.02s"`, 1), ""))
	eventually(t, "the last endpoints serve", func() bool {
		c, _ := e.Warming()
		return len(c) == 0 && picks(e, 1, lbContext{})["2"] == 1
	})
	e.RemoveCluster("c")
	if len(e.Clusters())+len(e.EDSNames()) != 0 {
		t.Error("not removed")
	}
	if _, exists := e.stats.Value("cluster.c.upstream_cx_total"); exists {
		t.Error("the statistics of the removed cluster are still there")
	}
}

func TestAggregate(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	setCluster(t, e, `{"name":"c","cluster_type":{"name":"envoy.clusters.aggregate","typed_config":{"@type":"type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig","clusters":["first","second","missing","c"]}},"lb_policy":"CLUSTER_PROVIDED"}`)
	for i, name := range []string{"first", "second"} {
		setCluster(t, e, strings.Replace(fmt.Sprintf(edsText, ""), `"name":"c"`, `"name":"`+name+`"`, 1))
		setEndpoints(t, e, weightedEndpoints(fmt.Sprintf("%d HEALTHY 1 0", i+1)))
		setCluster(t, e, staticCluster(name, "127.0.0.1", fmt.Sprint(i+1)))
	}
	if got := picks(e, 10, lbContext{}); got["1"] != 10 {
		t.Errorf("%v", got)
	}
	setCluster(t, e, `{"name":"first","type":"STATIC","load_assignment":{"cluster_name":"first"}}`)
	if got := picks(e, 10, lbContext{}); got["2"] != 10 {
		t.Errorf("after the first emptied: %v", got)
	}
}

func TestOutlierDetection(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	setCluster(t, e, fmt.Sprintf(edsText, `,"outlier_detection":{"consecutive_5xx":2,"base_ejection_time":"0.05s","max_ejection_percent":50}`))
	setEndpoints(t, e, weightedEndpoints("1 HEALTHY 1 0", "2 HEALTHY 1 0"))
	all := e.clusters.get("c").hosts.Load().all
	all[0].report(true)
	all[0].report(false)
	all[0].report(true)
	if all[0].outlier.out() {
		t.Fatal("ejected by failures that were not consecutive")
	}
	all[0].report(true)
	if got := picks(e, 10, lbContext{}); got["2"] != 10 {
		t.Errorf("picks %v", got)
	}
	if !e.Clusters()[0].Endpoints[0].Ejected || stat(e, "cluster.c.outlier_detection.ejections_active") != 1 {
		t.Error("not shown as ejected")
	}
	all[1].report(true)
	all[1].report(true)
	if all[1].outlier.out() || stat(e, "cluster.c.outlier_detection.ejections_overflow") != 1 {
		t.Error("max_ejection_percent was exceeded")
	}
	eventually(t, "readmitted", func() bool { return stat(e, "cluster.c.outlier_detection.ejections_active") == 0 })
	if all[0].outlier.out() {
		t.Error("still ejected")
	}
}

func TestDNSCluster(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	for _, kind := range []string{"STRICT_DNS", "LOGICAL_DNS"} {
		setCluster(t, e, `{"name":"`+kind+`","type":"`+kind+`","dns_lookup_family":"V4_PREFERRED","dns_refresh_rate":"0.01s","load_assignment":{"cluster_name":"x","endpoints":[{"lb_endpoints":[`+lbEndpoint("localhost", "8080")+`]}]}}`)
	}
	setCluster(t, e, `{"name":"broken","type":"STRICT_DNS","load_assignment":{"cluster_name":"x","endpoints":[{"lb_endpoints":[`+lbEndpoint("name.invalid", "8080")+`]}]}}`)
	eventually(t, "resolved", func() bool { c, _ := e.Warming(); return len(c) == 0 })
	for _, c := range e.Clusters() {
		switch {
		case c.Name == "broken":
			if len(c.Endpoints) != 0 {
				t.Errorf("%+v", c)
			}
		case len(c.Endpoints) != 1 || c.Endpoints[0].Address != "127.0.0.1:8080" || c.Endpoints[0].Hostname != "localhost":
			t.Errorf("%+v", c)
		}
	}
	eventually(t, "refreshed", func() bool { return stat(e, "cluster.STRICT_DNS.update_success") > 2 })
	if got := stat(e, "cluster.STRICT_DNS.membership_change"); got != 1 {
		t.Errorf("membership_change = %d", got)
	}
	if got := stat(e, "cluster.broken.update_failure"); got == 0 {
		t.Error("no failure counted")
	}
}

func TestLookupFamilies(t *testing.T) {
	t.Parallel()
	for _, family := range []int32{0, 1, 3, 4} {
		if _, err := lookup(t.Context(), "127.0.0.9", 0); err != nil {
			t.Errorf("family %d: %v", family, err)
		}
		addrs, err := lookup(t.Context(), "localhost", clusterv3.Cluster_DnsLookupFamily(family))
		if err != nil || !addrs[0].IsLoopback() {
			t.Errorf("family %d: %v %v", family, addrs, err)
		}
	}
}

// TestOriginalDestination connects to where the client was going, which without a redirection is the listener itself:
// the chain is chosen by the port, and the cluster's host by the restored address.
func TestOriginalDestination(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	setCluster(t, e, `{"name":"c","type":"ORIGINAL_DST","lb_policy":"CLUSTER_PROVIDED"}`)
	c := e.clusters.get("c")
	if got := c.pick(lbContext{}); got != nil {
		t.Errorf("a host without a destination: %v", got)
	}
	dst := netip.MustParseAddrPort("10.0.0.1:80")
	first := c.pick(lbContext{originalDst: dst})
	if first == nil || first.address.target != "10.0.0.1:80" || c.pick(lbContext{originalDst: dst}).host != first.host {
		t.Errorf("%+v", first)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got := originalDst(server).String(); got != ln.Addr().String() {
		t.Errorf("original destination %s, want %s", got, ln.Addr())
	}
}

// TestPipes has an endpoint and a listener on Unix sockets.
func TestPipes(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	dir := t.TempDir()
	ln, err := net.Listen("unix", filepath.Join(dir, "app"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "pipe") }))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	setCluster(t, e, `{"name":"app","type":"STATIC","load_assignment":{"cluster_name":"app","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"pipe":{"path":"`+dir+`/app"}}}}]}]}}`)
	setListener(t, e, strings.Replace(httpListener("l", inlineRoute("app"), "", ""), socketJSON("127.0.0.1", "0"), `{"pipe":{"path":"`+dir+`/in"}}`, 1))
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", dir+"/in")
	}}
	t.Cleanup(tr.CloseIdleConnections)
	if code, body, _ := get(t, &http.Client{Transport: tr, Timeout: 5 * time.Second}, "http://pipe/"); code != 200 || body != "pipe" {
		t.Errorf("%d %q", code, body)
	}
}

// TestUpstreamConnectionsEnd expects pooled connections to close when their endpoint leaves and when their cluster is
// replaced.
func TestUpstreamConnectionsEnd(t *testing.T) {
	t.Parallel()
	f := newFront(t, `{"match":{"prefix":"/"},"route":{"cluster":"c"}}`, "", "")
	backend, _ := httpBackend(t)
	_, port, _ := strings.Cut(backend, ":")
	setCluster(t, f.e, fmt.Sprintf(edsText, ""))
	setEndpoints(t, f.e, weightedEndpoints(port+" HEALTHY 1 0"))
	active := func() int64 { return stat(f.e, "cluster.c.upstream_cx_active") }
	get(t, client(t), f.base)
	if active() != 1 {
		t.Fatalf("%d connections", active())
	}
	setEndpoints(t, f.e, `{"cluster_name":"svc"}`)
	eventually(t, "no connection after the endpoint left", func() bool { return active() == 0 })
	setEndpoints(t, f.e, weightedEndpoints(port+" HEALTHY 1 0"))
	get(t, client(t), f.base)
	setCluster(t, f.e, fmt.Sprintf(edsText, `,"connect_timeout":"3s"`))
	setEndpoints(t, f.e, weightedEndpoints(port+" HEALTHY 1 0"))
	eventually(t, "no connection after the cluster was replaced", func() bool { return active() == 0 })
	get(t, client(t), f.base)
	got := f.e.Clusters()[0].Endpoints[0]
	if got.RqSuccess != 1 || got.RqTotal != 1 || got.CxTotal != 1 || got.RqActive != 0 || got.Health != corev3.HealthStatus_HEALTHY {
		t.Errorf("%+v", got)
	}
}
