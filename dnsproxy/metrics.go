// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// typeNames and rcodeNames bound the values of the labels: what is not in them
// is "other".
var (
	typeNames = map[uint16]string{
		1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
		64: "SVCB", 65: "HTTPS", 255: "ANY",
	}
	rcodeNames = map[int]string{
		rcodeSuccess: "NOERROR", rcodeFormatError: "FORMERR", rcodeServerFailure: "SERVFAIL",
		rcodeNameError: "NXDOMAIN", rcodeNotImplemented: "NOTIMP", rcodeRefused: "REFUSED",
	}
)

const otherName = "other"

// instruments are the collectors of this package.
type instruments struct {
	queries        *prometheus.CounterVec
	duration       map[transport]prometheus.Observer
	hits           prometheus.Counter
	misses         prometheus.Counter
	shared         prometheus.Counter
	stale          prometheus.Counter
	truncations    prometheus.Counter
	rejections     *prometheus.CounterVec
	upstreamErrors *prometheus.CounterVec
	socketErrors   *prometheus.CounterVec
	inFlight       prometheus.Gauge
	connections    prometheus.Gauge
	cached         prometheus.GaugeFunc
}

func newInstruments(reg prometheus.Registerer, cached func() int) *instruments {
	const ns, sub = "podplane", "dns"
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: ns, Subsystem: sub, Name: "query_duration_seconds",
		Help:    "Time from a DNS query's arrival to its answer, by transport.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"transport"})
	lookups := counters("cache_lookups_total",
		"DNS queries by what the cache had for them: hit, miss, shared (a miss that waited for an equal query), "+
			"or stale (an answer past its TTL, given because no server answered).", "result")
	m := &instruments{
		queries: counters("queries_total", "DNS queries answered, by transport, type of record, and response code.",
			"transport", "type", "rcode"),
		duration: map[transport]prometheus.Observer{
			overUDP: duration.WithLabelValues(overUDP.String()), overTCP: duration.WithLabelValues(overTCP.String()),
		},
		hits:   lookups.WithLabelValues("hit"),
		misses: lookups.WithLabelValues("miss"),
		shared: lookups.WithLabelValues("shared"),
		stale:  lookups.WithLabelValues("stale"),
		truncations: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "truncated_answers_total",
			Help: "DNS answers sent over UDP that were cut, so that the client asks again over TCP.",
		}),
		rejections: counters("rejections_total",
			"What was not served as a DNS query: overload (too many under way), malformed, opcode (not a query), "+
				"response (not answered at all), connections (a TCP connection closed for want of room).", "reason"),
		upstreamErrors: counters("upstream_errors_total", "DNS queries that the Consul servers or the recursors did not answer.", "upstream"),
		socketErrors:   counters("socket_errors_total", "Failures to accept a connection, or to read or write a packet.", "operation"),
		inFlight:       gauge("queries_in_flight", "DNS queries under way."),
		connections:    gauge("tcp_connections", "Open TCP connections of DNS clients."),
		cached: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "cache_entries", Help: "DNS answers kept.",
		}, func() float64 { return float64(cached()) }),
	}
	if reg != nil {
		reg.MustRegister(m.queries, duration, lookups, m.truncations, m.rejections, m.upstreamErrors,
			m.socketErrors, m.inFlight, m.connections, m.cached)
	}
	return m
}

// answered counts an answer. q is nil if the query could not be read.
func (m *instruments) answered(q *query, via transport, answer message, took time.Duration) {
	kind, rcode := otherName, otherName
	if q != nil {
		if name, known := typeNames[q.kind]; known {
			kind = name
		}
	}
	if name, known := rcodeNames[answer.rcode()]; known {
		rcode = name
	}
	m.queries.WithLabelValues(via.String(), kind, rcode).Inc()
	m.duration[via].Observe(took.Seconds())
	if via == overUDP && answer.isTruncated() {
		m.truncations.Inc()
	}
}
