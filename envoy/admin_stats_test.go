// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"strings"
	"testing"
)

const statsText = `cluster.api.upstream_cx_active: 9
http.admin.downstream_cx_active: 1
http.admin.downstream_rq_active: 1
http.envoy_prometheus_metrics.downstream_cx_active: 2
http.envoy_prometheus_metrics.downstream_rq_active: 1
http.public_listener.downstream_cx_active: 3
http.public_listener.downstream_rq_active: 1
http.upstream.api.default.default.dc1.downstream_rq_active: 4
http.upstream.consul-telemetry-collector.default.default.dc1.downstream_cx_active: 1
http.upstream.consul-telemetry-collector.default.default.dc1.downstream_rq_active: 1
listener.@envoy-telemetry.sock.downstream_cx_active: 1
listener.0.0.0.0_20200.downstream_cx_active: 2
listener.0.0.0.0_20200.worker_0.downstream_cx_active: 2
listener.10.0.0.7_20000.downstream_cx_active: 5
listener.10.0.0.7_20000.worker_0.downstream_cx_active: 3
listener.10.0.0.7_20000.worker_1.downstream_cx_active: 2
listener.[__1]_9191.downstream_cx_active: 1
listener.admin.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_active: 1
listener.10.0.0.7_20000.downstream_cx_length_ms: P0(nan,1) P25(nan,1)
control_plane.identifier: "a: 5"
`

func TestActivity(t *testing.T) {
	t.Parallel()
	a := newAdminServer(t, 200, statsText,
		"envoy_prometheus_metrics", "upstream.consul-telemetry-collector.")
	got, err := a.Activity(t.Context())
	want := Activity{Connections: 6, HTTPConnections: 3, Requests: 5}
	if err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if !strings.HasPrefix(a.seen[0], "GET /stats?usedonly&filter=%5E") {
		t.Errorf("asked %q", a.seen[0])
	}
}

func TestInFlight(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		activity Activity
		want     int
	}{
		"nothing":              {Activity{}, 0},
		"kept HTTP connection": {Activity{Connections: 2, HTTPConnections: 2}, 0},
		"request":              {Activity{Connections: 2, HTTPConnections: 2, Requests: 1}, 1},
		"TCP connection":       {Activity{Connections: 3, HTTPConnections: 2}, 1},
		"gauges out of step":   {Activity{Connections: 1, HTTPConnections: 2}, 0},
	} {
		if got := tc.activity.InFlight(); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Accepted{
		"cluster_manager.cds.update_success: 2\nlistener_manager.lds.update_success: 1\n": {true, true},
		"cluster_manager.cds.update_success: 2\n":                                         {true, false},
		"cluster_manager.cds.update_success: 0\n":                                         {},
		"": {},
	} {
		if got, err := newAdminServer(t, 200, body).Accepted(t.Context()); err != nil || got != want {
			t.Errorf("%q gives %+v (%v), want %+v", body, got, err, want)
		}
	}
}

func FuzzParseStats(f *testing.F) {
	f.Add(statsText)
	f.Add("a: b: 1\n: 2\nlistener.downstream_cx_active: 1\nhttp.: 3\n")
	counter := newActivityCounter(nil)
	f.Fuzz(func(t *testing.T, text string) {
		var a Activity
		_ = parseStats(strings.NewReader(text), func(name string, value int64) {
			counter.add(&a, name, int(min(value, 1<<20)))
		})
		if a.Connections < 0 || a.HTTPConnections < 0 || a.Requests < 0 {
			t.Errorf("%+v", a)
		}
	})
}
