// SPDX-License-Identifier: MPL-2.0

package metrics

import "github.com/prometheus/client_golang/prometheus"

// CompatSources tell the values of the metrics that dashboards made for
// consul-dataplane use. They are called at every scrape, from any goroutine,
// and must not block. A nil function leaves its metric out.
type CompatSources struct {
	EnvoyConnected  func() bool // Envoy has its xDS stream open
	ConsulConnected func() bool // a Consul server is in use
}

// NewCompat returns a collector of consul_dataplane_envoy_connected and
// consul_dataplane_consul_connected. The rest of the reference's names
// (…_connection_errors and the three durations) come from the Bridge.
func NewCompat(src CompatSources) prometheus.Collector {
	var c compat
	add := func(name, help string, value func() bool) {
		if value != nil {
			c = append(c, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
				if value() {
					return 1
				}
				return 0
			}))
		}
	}
	add("consul_dataplane_envoy_connected", "Whether Envoy is connected to the dataplane's xDS server (1) or not (0). As in consul-dataplane.", src.EnvoyConnected)
	add("consul_dataplane_consul_connected", "Whether the dataplane is connected to a Consul server (1) or not (0). As in consul-dataplane.", src.ConsulConnected)
	return c
}

// compat is several collectors as one.
type compat []prometheus.Collector

// Describe implements prometheus.Collector.
func (c compat) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c {
		m.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (c compat) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c {
		m.Collect(ch)
	}
}
