// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"fmt"
	"strconv"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

type supervisorMetrics struct {
	up          prometheus.Gauge
	restarts    prometheus.Counter
	exits       *prometheus.CounterVec
	liveSeconds prometheus.Gauge
}

func newSupervisorMetrics(r prometheus.Registerer) (*supervisorMetrics, error) {
	m := &supervisorMetrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "podplane_envoy_up",
			Help: "Whether the Envoy process runs (1) or not (0).",
		}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "podplane_envoy_restarts_total",
			Help: "Restarts of an Envoy that ended without being asked to.",
		}),
		exits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podplane_envoy_unexpected_exits_total",
			Help: "Ends of Envoy that nobody asked for, by cause: oom (killed for memory), signal, code (an exit code " +
				"other than 0) or clean (exit code 0); and by exit code, which is 128+n for signal n.",
		}, []string{"cause", "code"}),
		liveSeconds: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "podplane_envoy_live_seconds",
			Help: "How long the Envoy that became LIVE last took from its start until then, in seconds.",
		}),
	}
	// A counter that starts at 0 shows its first increase; which codes will come
	// is known of some only.
	for _, known := range []*ExitError{{Signal: syscall.SIGKILL, OOM: true}, {Signal: syscall.SIGSEGV}, {Signal: syscall.SIGABRT}, {Code: 1}, {}} {
		m.exited(known, 0)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.up, m.restarts, m.exits, m.liveSeconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register envoy metrics: %w", err)
		}
	}
	return m, nil
}

// exited counts n ends of a kind.
func (m *supervisorMetrics) exited(e *ExitError, n float64) {
	code := e.Code
	if e.Signal != 0 {
		code = 128 + int(e.Signal)
	}
	m.exits.WithLabelValues(e.label(), strconv.Itoa(code)).Add(n)
}
