// SPDX-License-Identifier: MPL-2.0

// Package metrics gives the pod one valid Prometheus scrape, whatever fails.
//
// It owns the registry into which every component of the sidecar puts its
// collectors (NewRegistry), the merged endpoint at GET /stats/prometheus
// (Server), the push of the dataplane's own metrics to statsd and dogstatsd
// (Pusher), and the translation of the connection manager's go-metrics into
// Prometheus collectors (Bridge). How expositions are validated and merged is
// in the package exposition below it.
//
// It does not own the metrics of others: a component takes a
// prometheus.Registerer and keeps its own collectors. It knows nothing of
// Envoy but the URL of its statistics, and nothing of Consul at all.
//
// What always holds:
//
//   - A source that fails, in whatever way, costs only itself: nothing of what
//     it had sent reaches the answer, and podplane_scrape_source_up says so.
//   - The answer is one valid exposition, or a status that is not 200.
//   - Memory is bounded by Config.MaxInFlight and Config.MaxSourceBytes; the
//     buffers of a scrape go back to the system when it ends.
//   - Nothing is process-wide, with one exception that is opted into by name:
//     Bridge.InstallGlobally, because go-metrics knows only a global.
package metrics
