// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the session's collectors.
type metrics struct {
	connected prometheus.Gauge
	epochs    prometheus.Counter
	tokenFrom prometheus.Gauge
	troubles  *prometheus.CounterVec
	logins    *prometheus.CounterVec
	loginTime prometheus.Histogram
	reloads   *prometheus.CounterVec
	observer  prometheus.Observer // of logins too; may be nil
}

func newMetrics(r prometheus.Registerer, observer prometheus.Observer) (*metrics, error) {
	const ns, sub = "podplane", "serverconn"
	m := &metrics{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "connected",
			Help: "1 while a Consul server is in use, 0 while there is none."}),
		epochs: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "changes_total",
			Help: "How often a Consul server, or a new token or TLS setting at one, was taken into use."}),
		tokenFrom: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "token_timestamp_seconds",
			Help: "When the ACL token in use was read or obtained, in seconds since 1970; 0 without a token."}),
		troubles: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "errors_total",
			Help: "Errors of the session with the Consul servers, by kind."}, []string{"kind"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "logins_total",
			Help: "Logins at the Consul auth method, by result."}, []string{"result"}),
		loginTime: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "login_duration_seconds",
			Help:    "How long successful logins took, until their token was known at the server.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5}}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "reloads_total",
			Help: "Changes of certificate and token files that were taken over or could not be, by result."}, []string{"result"}),
		observer: observer,
	}
	// Both results exist from the start, so that a rate over them does too.
	for _, vec := range []*prometheus.CounterVec{m.logins, m.reloads} {
		vec.WithLabelValues("success")
		vec.WithLabelValues("failure")
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.connected, m.epochs, m.tokenFrom, m.troubles, m.logins, m.loginTime, m.reloads} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) loggedIn(took time.Duration) {
	m.logins.WithLabelValues("success").Inc()
	m.loginTime.Observe(took.Seconds())
	if m.observer != nil {
		m.observer.Observe(took.Seconds())
	}
}

func (m *metrics) tokenTime(since time.Time) {
	if since.IsZero() {
		m.tokenFrom.Set(0)
		return
	}
	m.tokenFrom.Set(float64(since.UnixMilli()) / 1000)
}
