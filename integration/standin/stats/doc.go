// SPDX-License-Identifier: MPL-2.0

// Package stats is the statistics store of the Envoy stand-in.
//
// It owns counters, gauges and histograms under Envoy's dotted names, the scopes in which they live, the extraction of
// tags from those names, and the three forms in which the admin endpoint prints them: text, JSON and Prometheus.
// It does not own the HTTP endpoint, and it does not know what any statistic means.
//
// What always holds: a statistic is one object as long as any scope holds its name, so that a listener or cluster that
// is replaced in place goes on counting where its predecessor stopped; it disappears with the last scope, as in Envoy.
// Names are given as Envoy prints them (`cluster.local_app.upstream_rq_total`), already sanitised by the caller.
package stats
