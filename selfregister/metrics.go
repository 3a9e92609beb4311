// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// instruments are the collectors of this package.
type instruments struct {
	writes    *prometheus.CounterVec
	leftovers prometheus.Counter
	last      prometheus.Gauge
}

func newInstruments(reg prometheus.Registerer, b *board) (*instruments, error) {
	const ns, sub = "podplane", "registration"
	m := &instruments{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "writes_total",
			Help: "Attempts to bring the service's registration in Consul in line, by result: success, refused (by a server's " +
				"answer) or failure (no server answered).",
		}, []string{"result"}),
		leftovers: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "leftovers_total",
			Help: "Registrations of earlier starts on this machine that were removed.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "last_success_timestamp_seconds",
			Help: "When the registration in Consul was brought in line last, in seconds since 1970; 0 if never.",
		}),
	}
	for _, result := range []string{"success", "refused", "failure"} {
		m.writes.WithLabelValues(result)
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.writes), reg.Register(m.leftovers), reg.Register(m.last), reg.Register(checkMetrics{b}))
}

func (m *instruments) wrote(err error) {
	switch {
	case err == nil:
		m.writes.WithLabelValues("success").Inc()
		m.last.SetToCurrentTime()
	case isRefusal(err):
		m.writes.WithLabelValues("refused").Inc()
	default:
		m.writes.WithLabelValues("failure").Inc()
	}
}

// checkMetrics shows the checks as they are when it is asked.
type checkMetrics struct{ board *board }

var checkDesc = prometheus.NewDesc("podplane_registration_check_status", //nolint:gochecknoglobals // a constant
	"Health checks of the registered service and its proxy: 0 passing, 1 warning, 2 critical.", []string{"service_id", "check"}, nil)

// Describe implements prometheus.Collector.
func (checkMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- checkDesc }

// Collect implements prometheus.Collector.
func (c checkMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.board.snapshot() {
		ch <- prometheus.MustNewConstMetric(checkDesc, prometheus.GaugeValue, float64(severity(s.Status)), s.ServiceID, s.ID)
	}
}
