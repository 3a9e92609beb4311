// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// instruments are the collectors of this package.
type instruments struct {
	envoyUp      prometheus.Gauge
	upstreamUp   prometheus.Gauge
	connects     prometheus.Counter
	errors       *prometheus.CounterVec
	refused      *prometheus.CounterVec
	messages     *prometheus.CounterVec
	bytes        *prometheus.CounterVec
	answers      *prometheus.CounterVec
	resources    *prometheus.GaugeVec
	lastResponse prometheus.Gauge

	disconnectedSince prometheus.Gauge
	lastReject        *prometheus.GaugeVec

	meters atomic.Pointer[map[string]*meter] // by type URL; replaced as a whole
	adding sync.Mutex                        // held over that
}

func newInstruments(reg prometheus.Registerer) *instruments {
	const ns, sub = "podplane", "xds"
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	m := &instruments{
		envoyUp:    gauge("envoy_connected", "Whether Envoy's xDS stream is open (1) or not (0)."),
		upstreamUp: gauge("upstream_connected", "Whether an xDS stream to a Consul server is open (1) or not (0)."),
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "upstream_connects_total",
			Help: "Streams to Consul servers that were opened; each after the first is a reconnect.",
		}),
		errors:   counters("upstream_errors_total", "Streams to Consul servers that failed, by gRPC status code.", "code"),
		refused:  counters("refused_total", "Peers of the local xDS listener that were refused, by reason.", "reason"),
		messages: counters("messages_total", "xDS messages, by direction (from_envoy, to_envoy, to_server, from_server) and resource type.", "direction", "type"),
		bytes:    counters("bytes_total", "Bytes of xDS messages, by direction (from_envoy, to_envoy, to_server, from_server) and resource type.", "direction", "type"),
		answers:  counters("answers_total", "Envoy's answers to configuration updates, by resource type and result (ack, nack).", "type", "result"),
		resources: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "resources",
			Help: "Resources that Envoy has accepted and holds, by type.",
		}, []string{"type"}),
		disconnectedSince: gauge("upstream_disconnected_since_timestamp_seconds",
			"When the last xDS stream to a Consul server was lost, in seconds since the epoch; 0 while one is open."),
		lastReject: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "last_nack_timestamp_seconds",
			Help: "When Envoy last rejected an update, by resource type, in seconds since the epoch.",
		}, []string{"type"}),
		lastResponse: gauge("last_response_timestamp_seconds", "When the last message of a Consul server arrived, in seconds since the epoch."),
	}
	m.meters.Store(&map[string]*meter{})
	if reg != nil {
		reg.MustRegister(m.envoyUp, m.upstreamUp, m.connects, m.errors, m.refused, m.messages, m.bytes, m.answers,
			m.resources, m.lastResponse, m.disconnectedSince, m.lastReject)
	}
	return m
}

// direction is one of those that messages take, as seen from here.
type direction int

const (
	fromEnvoy direction = iota
	toEnvoy
	toServer
	fromServer
	directions
)

func (d direction) String() string {
	return [directions]string{"from_envoy", "to_envoy", "to_server", "from_server"}[d]
}

// meter holds what is counted of one resource type.
type meter struct {
	messages, bytes [directions]prometheus.Counter
	acks, nacks     prometheus.Counter
	resources       prometheus.Gauge
	lastReject      func() prometheus.Gauge // there is none before there was a rejection
}

// meter gives that of a type URL. It is kept, for to look up each counter by its
// labels would cost more than all else that is done for a small message.
func (m *instruments) meter(typeURL string) *meter {
	if found, ok := (*m.meters.Load())[typeURL]; ok {
		return found
	}
	m.adding.Lock()
	defer m.adding.Unlock()
	typ := typeLabel(typeURL)
	made := m.newMeter(typ)
	if typ != otherType {
		meters := maps.Clone(*m.meters.Load())
		meters[typeURL] = made
		m.meters.Store(&meters)
	}
	return made
}

func (m *instruments) newMeter(typ string) *meter {
	made := &meter{
		acks:       m.answers.WithLabelValues(typ, "ack"),
		nacks:      m.answers.WithLabelValues(typ, "nack"),
		resources:  m.resources.WithLabelValues(typ),
		lastReject: func() prometheus.Gauge { return m.lastReject.WithLabelValues(typ) },
	}
	for d := range directions {
		made.messages[d] = m.messages.WithLabelValues(d.String(), typ)
		made.bytes[d] = m.bytes.WithLabelValues(d.String(), typ)
	}
	return made
}

// count counts a message that was received, or is about to be sent.
func (m *meter) count(d direction, size int) {
	m.messages[d].Inc()
	m.bytes[d].Add(float64(size))
}

// answered counts Envoy's answer to a response, and what it holds since.
func (m *meter) answered(s *subscription, rejected bool) {
	if rejected {
		m.nacks.Inc()
		m.lastReject().SetToCurrentTime()
	} else {
		m.acks.Inc()
	}
	m.resources.Set(float64(len(s.held)))
}

// otherType is the label of what is none of Envoy's types.
const otherType = "other"

// typePrefix begins the type URLs of all that Envoy asks for.
const typePrefix = "type.googleapis.com/envoy."

// maxTypeURL is longer than any of those.
const maxTypeURL = 128

// typeLabel is shortType for a label: what a message names as its type and is
// none would otherwise be a series of its own, and for good.
func typeLabel(typeURL string) string {
	if !strings.HasPrefix(typeURL, typePrefix) || len(typeURL) > maxTypeURL || !utf8.ValidString(typeURL) {
		return otherType
	}
	return shortType(typeURL)
}

// shortType gives the last word of a type URL, such as Cluster.
func shortType(typeURL string) string {
	return typeURL[strings.LastIndexByte(typeURL, '.')+1:]
}
