// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the registrar's collectors.
type metrics struct {
	registrations   prometheus.Counter
	deregistrations prometheus.Counter
	instances       prometheus.GaugeFunc
	writes          *prometheus.CounterVec
	errors          *prometheus.CounterVec
	reconciles      prometheus.Histogram
	sweeps          *prometheus.CounterVec
	sweepFound      *prometheus.CounterVec
	sweepTime       prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, instances func() float64) (*metrics, error) {
	const ns, sub = "podplane_injector", "registrar"
	m := &metrics{
		registrations: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "registrations_total",
			Help: "Pods whose services were written to the Consul catalog, because they are new or something about them changed."}),
		deregistrations: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "deregistrations_total",
			Help: "Pods whose services were removed from the Consul catalog."}),
		instances: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "instances",
			Help: "Service and proxy instances of this cluster in the Consul catalog, as far as this replica knows it. Only the leader does."},
			instances),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "writes_total",
			Help: "Successful writes to Consul, by what was written: register, check, deregister, node or token."}, []string{"kind"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "errors_total",
			Help: "Errors by what was being done (reconcile, sweep, tokens) and their kind. Everything that fails is tried again."},
			[]string{"operation", "reason"}),
		reconciles: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "reconcile_duration_seconds",
			Help:    "How long it took to bring one pod's part of the catalog up to date.",
			Buckets: []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "sweeps_total",
			Help: "Comparisons of the whole catalog with the cluster's pods, by result: success or failure."}, []string{"result"}),
		sweepFound: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "sweep_found_total",
			Help: "What sweeps found: orphan pods in the catalog, and tokens that pods left behind."}, []string{"kind"}),
		sweepTime: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "sweep_timestamp_seconds",
			Help: "When the last sweep ended that succeeded, in seconds since 1970; 0 before the first."}),
	}
	// All results exist from the start, so that a rate over them does too.
	for _, result := range []string{"success", "failure"} {
		m.sweeps.WithLabelValues(result)
	}
	for _, kind := range []string{"register", "check", "deregister", "node", "token"} {
		m.writes.WithLabelValues(kind)
	}
	for _, kind := range []string{"orphan", "token"} {
		m.sweepFound.WithLabelValues(kind)
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.registrations, m.deregistrations, m.instances, m.writes, m.errors, m.reconciles,
		m.sweeps, m.sweepFound, m.sweepTime} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}
