// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// rotations are the metrics of a Rotator.
type rotations struct {
	steps  *prometheus.CounterVec
	errors prometheus.Counter
}

func newRotations(registerer prometheus.Registerer, store *Store) (*rotations, error) {
	m := &rotations{
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podplane_injector_certificate_rotations_total",
			Help: "Steps of rotation that this replica carried out on the webhook's shared certificates.",
		}, []string{"step"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "podplane_injector_certificate_errors_total",
			Help: "Looks at the webhook's certificates that ended with an error and were repeated.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.steps, m.errors, expiry(store)} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register certificate metrics: %w", err)
		}
	}
	return m, nil
}

// expiry is when the certificate that is served ends.
func expiry(store *Store) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "podplane_injector_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that the webhook serves expires, in seconds since 1970. 0 if there is none.",
	}, func() float64 {
		if now := store.get(); now != nil {
			return float64(now.Leaf.NotAfter.Unix())
		}
		return 0
	})
}
