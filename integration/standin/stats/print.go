// SPDX-License-Identifier: MPL-2.0

package stats

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Query chooses statistics.
type Query struct {
	UsedOnly bool           // only those that were written to since the start
	Filter   *regexp.Regexp // only names that it finds something in; nil means all
}

// Stat is one statistic at one moment.
type Stat struct {
	Name      string
	Kind      Kind
	Value     int64          // of a counter or gauge
	Histogram HistogramValue // of a histogram
}

// Snapshot returns the chosen statistics, sorted by name.
func (s *Store) Snapshot(q Query) []Stat {
	var out []Stat
	for _, name := range s.names() {
		if q.Filter != nil && !q.Filter.MatchString(name) {
			continue
		}
		if stat, ok := s.read(name, q.UsedOnly); ok {
			out = append(out, stat)
		}
	}
	return out
}

func (s *Store) read(name string, usedOnly bool) (Stat, bool) {
	s.mu.RLock()
	e, ok := s.entries[name]
	s.mu.RUnlock()
	if !ok {
		return Stat{}, false
	}
	stat := Stat{Name: name, Kind: e.kind}
	used := true
	switch e.kind {
	case KindCounter:
		stat.Value, used = int64(e.counter.Value()), e.counter.used.Load()
	case KindGauge:
		stat.Value, used = e.gauge.Value(), e.gauge.used.Load()
	case KindHistogram:
		stat.Histogram = e.histogram.Value()
		used = stat.Histogram.Count > 0
	}
	return stat, used || !usedOnly
}

// quantiles are those that Envoy's /stats shows.
func quantiles() []float64 {
	return []float64{0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1}
}

// WriteText prints the chosen statistics as GET /stats does: counters and gauges first, then histograms.
func (s *Store) WriteText(w io.Writer, q Query) error {
	buf := bufio.NewWriter(w)
	snapshot := s.Snapshot(q)
	for _, stat := range snapshot {
		if stat.Kind != KindHistogram {
			fmt.Fprintf(buf, "%s: %d\n", stat.Name, stat.Value)
		}
	}
	for _, stat := range snapshot {
		if stat.Kind == KindHistogram {
			fmt.Fprintf(buf, "%s: %s\n", stat.Name, histogramText(stat.Histogram))
		}
	}
	return buf.Flush()
}

// histogramText is `P0(interval,cumulative) P25(…) …`, or "No recorded values". There is no interval here: the stand-in
// flushes nothing, so both are the cumulative value.
func histogramText(v HistogramValue) string {
	if v.Count == 0 {
		return "No recorded values"
	}
	parts := make([]string, 0, 10)
	for _, q := range quantiles() {
		value := strconv.FormatFloat(v.Quantile(q), 'g', 6, 64)
		parts = append(parts, fmt.Sprintf("P%s(%s,%s)", strconv.FormatFloat(q*100, 'g', -1, 64), value, value))
	}
	return strings.Join(parts, " ")
}

type jsonStat struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
}

type jsonQuantiles struct {
	Name   string     `json:"name"`
	Values []jsonPair `json:"values"`
}

type jsonPair struct {
	Interval   *float64 `json:"interval"`
	Cumulative *float64 `json:"cumulative"`
}

// WriteJSON prints the chosen statistics as GET /stats?format=json does.
func (s *Store) WriteJSON(w io.Writer, q Query) error {
	list := []any{}
	computed := []jsonQuantiles{}
	for _, stat := range s.Snapshot(q) {
		if stat.Kind != KindHistogram {
			list = append(list, jsonStat{Name: stat.Name, Value: stat.Value})
			continue
		}
		h := jsonQuantiles{Name: stat.Name}
		for _, p := range quantiles() {
			var pair jsonPair
			if stat.Histogram.Count > 0 {
				value := stat.Histogram.Quantile(p)
				pair = jsonPair{Interval: &value, Cumulative: &value}
			}
			h.Values = append(h.Values, pair)
		}
		computed = append(computed, h)
	}
	if len(computed) > 0 {
		percents := make([]float64, 0, 10)
		for _, p := range quantiles() {
			percents = append(percents, p*100)
		}
		list = append(list, map[string]any{"histograms": map[string]any{
			"supported_quantiles": percents, "computed_quantiles": computed,
		}})
	}
	return json.NewEncoder(w).Encode(map[string]any{"stats": list})
}

// family is the statistics that share a name once the tags are out.
type family struct {
	kind  Kind
	lines []string
}

// WritePrometheus prints the chosen statistics as GET /stats/prometheus does: names without tags, prefixed `envoy_`,
// and the tags as labels. Label names and metric names have everything but letters, digits and `_` replaced by `_`.
func (s *Store) WritePrometheus(w io.Writer, q Query) error {
	families := map[string]*family{}
	for _, stat := range s.Snapshot(q) {
		bare, tags := s.tags.extract(stat.Name)
		name := "envoy_" + promName(strings.TrimSuffix(bare, "."))
		f := families[name]
		if f == nil {
			f = &family{kind: stat.Kind}
			families[name] = f
		}
		if f.kind == stat.Kind {
			f.lines = append(f.lines, promLines(name, promLabels(tags), stat)...)
		}
	}
	names := make([]string, 0, len(families))
	for name := range families {
		names = append(names, name)
	}
	sort.Strings(names)
	buf := bufio.NewWriter(w)
	for _, name := range names {
		kind := [...]string{KindCounter: "counter", KindGauge: "gauge", KindHistogram: "histogram"}[families[name].kind]
		fmt.Fprintf(buf, "# TYPE %s %s\n", name, kind)
		for _, line := range families[name].lines {
			_, _ = buf.WriteString(line) // Flush tells
		}
	}
	return buf.Flush()
}

func promLines(name, labels string, stat Stat) []string {
	if stat.Kind != KindHistogram {
		return []string{fmt.Sprintf("%s{%s} %d\n", name, labels, stat.Value)}
	}
	sep := labels
	if sep != "" {
		sep += ","
	}
	h := stat.Histogram
	lines := make([]string, 0, len(h.Bounds)+3)
	for i, bound := range h.Bounds {
		le := strconv.FormatFloat(bound, 'f', -1, 64)
		lines = append(lines, fmt.Sprintf("%s_bucket{%sle=\"%s\"} %d\n", name, sep, le, h.Cumulative[i]))
	}
	return append(lines,
		fmt.Sprintf("%s_bucket{%sle=\"+Inf\"} %d\n", name, sep, h.Count),
		fmt.Sprintf("%s_sum{%s} %s\n", name, labels, strconv.FormatFloat(h.Sum, 'f', -1, 64)),
		fmt.Sprintf("%s_count{%s} %d\n", name, labels, h.Count))
}

func promLabels(tags []Tag) string {
	parts := make([]string, 0, len(tags))
	for _, t := range tags {
		value := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(t.Value)
		parts = append(parts, promName(t.Name)+`="`+value+`"`)
	}
	return strings.Join(parts, ",")
}

func promName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return '_'
	}, s)
}
