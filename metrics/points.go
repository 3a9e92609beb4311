// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"bytes"
	"math"
	"net"
	"strings"

	"github.com/DataDog/datadog-go/v5/statsd"
	dto "github.com/prometheus/client_model/go"
)

// point is one value on its way to statsd.
type point struct {
	name  string
	tags  []string // "label:value"
	value float64
	count bool // an increase since the last push; otherwise a gauge
}

// send gives the point to a client, with labels as tags or as parts of the name.
func (p point) send(c *statsd.Client, tagged bool) error {
	name, tags := p.name, p.tags
	if !tagged {
		for _, t := range tags {
			_, value, _ := strings.Cut(t, ":")
			name += "." + plainName(value)
		}
		tags = nil
	}
	if p.count {
		return c.Count(name, int64(p.value), tags, 1)
	}
	return c.Gauge(name, p.value, tags, 1)
}

// plainName replaces what has a meaning in a statsd name or line.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '.', r == ':', r == '|', r == '@', r == '#', r == '/', r <= ' ', r > '~':
			return '_'
		}
		return r
	}, s)
}

// points turns families into points. It remembers the counters, because statsd
// wants increases.
type points struct {
	last map[string]float64
}

// from returns the points of families. Names lose the prefixes of Prometheus;
// if two families then have the same one, the first is sent.
func (p *points) from(families []*dto.MetricFamily) []point {
	var list []point
	owner := make(map[string]string)
	for _, f := range families {
		name := strings.TrimPrefix(strings.TrimPrefix(f.GetName(), "podplane_"), "consul_dataplane_")
		if first, taken := owner[name]; taken && first != f.GetName() {
			continue
		}
		owner[name] = f.GetName()
		for _, m := range f.GetMetric() {
			list = p.of(list, name, m)
		}
	}
	return list
}

// of appends the points of one metric.
func (p *points) of(list []point, name string, m *dto.Metric) []point {
	var tags []string
	for _, l := range m.GetLabel() {
		tags = append(tags, l.GetName()+":"+l.GetValue())
	}
	gauge := func(suffix string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			list = append(list, point{name: name + suffix, tags: tags, value: v})
		}
	}
	count := func(suffix string, v float64) {
		if d := p.increase(name+suffix, tags, v); d > 0 {
			list = append(list, point{name: name + suffix, tags: tags, value: d, count: true})
		}
	}
	switch {
	case m.Counter != nil:
		count("", m.Counter.GetValue())
	case m.Gauge != nil:
		gauge("", m.Gauge.GetValue())
	case m.Untyped != nil:
		gauge("", m.Untyped.GetValue())
	case m.Histogram != nil:
		count(".count", float64(m.Histogram.GetSampleCount()))
		gauge(".sum", m.Histogram.GetSampleSum())
	case m.Summary != nil:
		count(".count", float64(m.Summary.GetSampleCount()))
		gauge(".sum", m.Summary.GetSampleSum())
	}
	return list
}

// increase returns by how many whole units a counter has grown since they were
// last sent. A fraction waits until it has become one.
func (p *points) increase(name string, tags []string, v float64) float64 {
	key := name + "\x00" + strings.Join(tags, "\x00")
	d := math.Floor(v - p.last[key])
	if d < 0 { // It was reset, and has counted v since.
		delete(p.last, key)
		d = math.Floor(v)
	}
	if d > 0 {
		if p.last == nil {
			p.last = make(map[string]float64)
		}
		p.last[key] += d
	}
	return d
}

// plainWriter removes the extensions of dogstatsd from what the client writes:
// it adds tags of its own if variables such as DD_ENV are in the environment,
// and statsd does not know tags.
type plainWriter struct{ net.Conn }

func (w plainWriter) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b))
	for line := range bytes.Lines(b) {
		end := bytes.TrimSuffix(line, []byte("\n"))
		// name:value|type, and then whatever follows a further bar.
		if first := bytes.IndexByte(end, '|'); first >= 0 {
			if more := bytes.IndexByte(end[first+1:], '|'); more >= 0 {
				end = end[:first+1+more]
			}
		}
		out = append(append(out, end...), '\n')
	}
	if _, err := w.Conn.Write(bytes.TrimSuffix(out, []byte("\n"))); err != nil {
		return 0, err
	}
	return len(b), nil
}
