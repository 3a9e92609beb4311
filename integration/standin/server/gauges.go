// SPDX-License-Identifier: MPL-2.0

package server

import (
	"runtime"
	"time"

	"podplane/integration/standin/stats"
	"podplane/integration/standin/traffic"
)

// gauges are the statistics of the server itself and the counts of what it holds.
// Names: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/statistics
type gauges struct {
	server    *Server
	process   *stats.Scope // server.
	clusters  *stats.Scope // cluster_manager.
	listeners *stats.Scope // listener_manager.
}

func newGauges(s *Server) *gauges {
	g := &gauges{
		server: s, process: s.store.Scope("server."),
		clusters: s.store.Scope("cluster_manager."), listeners: s.store.Scope("listener_manager."),
	}
	for _, name := range []string{"cluster_added", "cluster_modified", "cluster_removed"} {
		g.clusters.Counter(name)
	}
	for _, name := range []string{
		"listener_added", "listener_modified", "listener_removed", "listener_create_success", "listener_create_failure",
	} {
		g.listeners.Counter(name)
	}
	g.process.Gauge("concurrency").Set(int64(s.cfg.Options.Concurrency))
	g.process.Gauge("hot_restart_epoch").Set(int64(s.cfg.Options.RestartEpoch))
	g.listeners.Gauge("workers_started").Set(0)
	return g
}

// live notes the end of initialisation.
func (g *gauges) live(took time.Duration) {
	g.process.Histogram("initialization_time_ms").Record(float64(took.Milliseconds()))
	g.listeners.Gauge("workers_started").Set(1)
}

// refresh brings every gauge up to date. Envoy does that with each flush of
// its sinks; here it is done when somebody looks.
func (g *gauges) refresh() {
	s := g.server
	g.process.Gauge("uptime").Set(int64(time.Since(s.started) / time.Second))
	g.process.Gauge("state").Set(int64(s.state.get()))
	live := int64(1)
	if s.state.failing() {
		live = 0
	}
	g.process.Gauge("live").Set(live)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	g.process.Gauge("memory_allocated").Set(int64(m.HeapAlloc))
	g.process.Gauge("memory_heap_size").Set(int64(m.HeapSys))
	if days, ok := firstExpiry(s.engine.Certs()); ok {
		g.process.Gauge("days_until_first_cert_expiring").Set(days)
	}
	g.count()
}

func (g *gauges) count() {
	var active, warming, listening, waiting, connections int64
	for _, c := range g.server.engine.Clusters() {
		if c.Warming {
			warming++
		} else {
			active++
		}
	}
	for _, l := range g.server.engine.Listeners() {
		connections += l.Connections
		if l.Warming {
			waiting++
		} else {
			listening++
		}
	}
	g.clusters.Gauge("active_clusters").Set(active)
	g.clusters.Gauge("warming_clusters").Set(warming)
	g.listeners.Gauge("total_listeners_active").Set(listening)
	g.listeners.Gauge("total_listeners_warming").Set(waiting)
	g.process.Gauge("total_connections").Set(connections)
}

// firstExpiry is the number of whole days until the first certificate expires.
func firstExpiry(certs []traffic.CertStatus) (days int64, ok bool) {
	for _, set := range certs {
		for _, c := range append(set.CA, set.Chain...) {
			left := max(0, int64(time.Until(c.NotAfter)/(24*time.Hour)))
			if !ok || left < days {
				days, ok = left, true
			}
		}
	}
	return days, ok
}
