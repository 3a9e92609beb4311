// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"fmt"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// Bridge turns what consul-server-connection-manager reports to go-metrics into
// Prometheus collectors: under podplane_serverconn_… in base units, beside those
// of the session around it, and under the names and in the milliseconds in which
// consul-dataplane exposes the same.
//
// It holds a fixed set of collectors and no samples, so it stays the same size
// whether or not anybody scrapes. Anything else that is reported is ignored.
type Bridge struct {
	seconds map[string]prometheus.Histogram
	millis  map[string]prometheus.Summary
	errors  *prometheus.CounterVec
	seen    *prometheus.GaugeVec
}

var (
	_ gometrics.MetricSink = (*Bridge)(nil)

	// Names by what the connection manager calls them, which go-metrics reports
	// in milliseconds.
	bridged = map[string]struct{ name, what string }{
		"connect_duration":          {"connect", "connecting to a Consul server took, from the first request to its being usable"},
		"discover_servers_duration": {"discover", "finding the addresses of the Consul servers took"},
	}
)

// loginKey is what the connection manager calls the duration of its logins. It
// is never told to log in here: those of the session come through Logins, and
// their duration in seconds is the session's own metric.
const loginKey = "login_duration"

// NewBridge returns a Bridge whose collectors are in reg. A nil reg leaves them
// unregistered.
func NewBridge(reg prometheus.Registerer) (*Bridge, error) {
	b := &Bridge{
		seconds: make(map[string]prometheus.Histogram),
		millis:  make(map[string]prometheus.Summary),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podplane_serverconn_rpc_errors_total",
			Help: "Calls and streams to Consul servers that ended in an error, by gRPC code.",
		}, []string{"code"}),
		seen: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "consul_dataplane_connection_errors",
			Help: "1 for every gRPC code with which a call or stream to Consul has ended. As in consul-dataplane; podplane_serverconn_rpc_errors_total counts.",
		}, []string{"error_code"}),
	}
	all := []prometheus.Collector{b.errors, b.seen}
	old := func(key, name, what string) {
		b.millis[key] = prometheus.NewSummary(prometheus.SummaryOpts{
			Name:       "consul_dataplane_" + key,
			Help:       "How many milliseconds " + what + ". As in consul-dataplane; podplane_serverconn_" + name + "_duration_seconds has seconds.",
			Objectives: map[float64]float64{0.5: 0.05, 0.9: 0.01, 0.99: 0.001},
		})
		all = append(all, b.millis[key])
	}
	old(loginKey, "login", "logging in to Consul took")
	for key, d := range bridged {
		old(key, d.name, d.what)
		b.seconds[key] = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "podplane_serverconn_" + d.name + "_duration_seconds",
			Help:    "How long " + d.what + ".",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		})
		all = append(all, b.seconds[key])
	}
	if reg == nil {
		return b, nil
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register consul connection metrics: %w", err)
		}
	}
	return b, nil
}

// InstallGlobally makes b the sink of go-metrics' global instance, the only one
// that the connection manager reports to. It changes the state of the process:
// call it once, where the process is composed, and before the connection
// manager starts. It starts nothing.
func (b *Bridge) InstallGlobally() error {
	_, err := gometrics.NewGlobal(&gometrics.Config{
		TimerGranularity: time.Millisecond,
		FilterDefault:    true,
	}, b)
	if err != nil {
		return fmt.Errorf("install go-metrics sink: %w", err)
	}
	return nil
}

// Logins takes the durations of logins, in seconds, for the name that they have
// in consul-dataplane.
func (b *Bridge) Logins() prometheus.Observer {
	return prometheus.ObserverFunc(func(seconds float64) { b.millis[loginKey].Observe(seconds * 1000) })
}

// SetGauge ignores gauges without labels: consul_connected is told better by
// the session itself, and connection_errors comes again with its code.
func (b *Bridge) SetGauge([]string, float32) {}

// SetGaugeWithLabels takes connection_errors, which is set to 1 at each error.
func (b *Bridge) SetGaugeWithLabels(key []string, _ float32, labels []gometrics.Label) {
	if len(key) == 0 || key[len(key)-1] != "connection_errors" {
		return
	}
	for _, l := range labels {
		if l.Name == "error_code" {
			b.errors.WithLabelValues(l.Value).Inc()
			b.seen.WithLabelValues(l.Value).Set(1)
		}
	}
}

// AddSample takes the durations.
func (b *Bridge) AddSample(key []string, ms float32) {
	if len(key) == 0 {
		return
	}
	name := key[len(key)-1]
	if h, ok := b.seconds[name]; ok {
		h.Observe(float64(ms) / 1000)
		b.millis[name].Observe(float64(ms))
	}
}

// AddSampleWithLabels is AddSample; the durations have no labels.
func (b *Bridge) AddSampleWithLabels(key []string, ms float32, _ []gometrics.Label) {
	b.AddSample(key, ms)
}

// EmitKey ignores what it is given.
func (b *Bridge) EmitKey([]string, float32) {}

// IncrCounter ignores what it is given.
func (b *Bridge) IncrCounter([]string, float32) {}

// IncrCounterWithLabels ignores what it is given.
func (b *Bridge) IncrCounterWithLabels([]string, float32, []gometrics.Label) {}
