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

func newMetrics(registerer prometheus.Registerer, b *bounds) (*metrics, error) {
	m := &metrics{
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podplane_injector_admissions_total",
			Help: "Requests to the webhook by what became of them: injected, unchanged, refused (a bad annotation), " +
				"error (a fault of the companion), bad_request (no admission review) or busy (told to ask again, without a decision).",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "podplane_injector_admission_duration_seconds",
			Help:    "How long the webhook took from the headers of a request to its answer, for all results but busy.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .02, .05, .1, .25, 1, 5},
		}),
	}
	for _, result := range []string{resultInjected, resultUnchanged, resultRefused, resultError, resultBad, resultBusy} {
		m.admissions.WithLabelValues(result)
	}
	if registerer == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "podplane_injector_admissions_waiting",
		Help: "Admission reviews that wait for their turn to be decided on.",
	}, func() float64 { return float64(len(b.waiting)) })
	for _, c := range []prometheus.Collector{m.admissions, m.duration, waiting} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register webhook metrics: %w", err)
		}
	}
	return m, nil
}
