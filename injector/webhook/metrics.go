// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	admissions *prometheus.CounterVec
	duration   prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podplane_injector_admissions_total",
			Help: "Requests to the webhook by what became of them: injected, unchanged, refused (a bad annotation), " +
				"error (a fault of the companion), bad_request (no admission review) or busy.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "podplane_injector_admission_duration_seconds",
			Help:    "How long the webhook took from the headers of a request to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .02, .05, .1, .25, 1, 5},
		}),
	}
	for _, result := range []string{resultInjected, resultUnchanged, resultRefused, resultError, resultBad, resultBusy} {
		m.admissions.WithLabelValues(result)
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.admissions, m.duration} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register webhook metrics: %w", err)
		}
	}
	return m, nil
}
