// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type drainMetrics struct {
	states   *prometheus.GaugeVec
	requests *prometheus.CounterVec
	inFlight prometheus.Gauge
	seconds  prometheus.Gauge
}

func newDrainMetrics(r prometheus.Registerer) (*drainMetrics, error) {
	m := &drainMetrics{
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "podplane_lifecycle_state",
			Help: "Where the shutdown is: 1 for the present state (running, draining, stopping, stopped), 0 for the others.",
		}, []string{"state"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podplane_lifecycle_shutdowns_total",
			Help: "Shutdowns begun, by who asked first: http or signal. Never more than one.",
		}, []string{"source"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "podplane_lifecycle_in_flight",
			Help: "Requests and non-HTTP connections in flight through Envoy at the last look during a shutdown.",
		}),
		seconds: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "podplane_lifecycle_shutdown_seconds",
			Help: "How long the shutdown took from the first request until Envoy was gone, in seconds.",
		}),
	}
	m.state(Running)
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.states, m.requests, m.inFlight, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register lifecycle metrics: %w", err)
		}
	}
	return m, nil
}

func (m *drainMetrics) begin(by Source) {
	m.requests.WithLabelValues(string(by)).Inc()
	m.state(Draining)
}

func (m *drainMetrics) state(present State) {
	for _, s := range []State{Running, Draining, Stopping, Stopped} {
		value := 0.0
		if s == present {
			value = 1
		}
		m.states.WithLabelValues(string(s)).Set(value)
	}
}
