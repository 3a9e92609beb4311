// SPDX-License-Identifier: MPL-2.0

// Package metricsdoc keeps the tables of metrics in the reference equal to what programs register. It is for tests.
package metricsdoc

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The lines between which a page has its table.
const (
	begin = "<!-- metrics:begin -->"
	end   = "<!-- metrics:end -->"
)

// Row is a metric in the table. One whose name ends in "…" stands for all that begin so.
type Row struct{ Name, Kind, Labels, Help string }

// Rows are the metrics of registries, sorted by name. Those that a row of summaries stands for are left out in its favour.
func Rows(t *testing.T, summaries []Row, registries ...*prometheus.Registry) []Row {
	t.Helper()
	rows := make(map[string]Row)
	for _, registry := range registries {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		kinds := make(map[string]string)
		for _, f := range families {
			kinds[f.GetName()] = strings.ToLower(dto.MetricType_name[int32(f.GetType())])
		}
		for d := range all(registry) {
			row := parse(t, d)
			if row.Kind = kinds[row.Name]; row.Kind == "" {
				row.Kind = Guess(row.Name)
			}
			row = summarised(row, summaries)
			rows[row.Name] = row
		}
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b Row) int { return strings.Compare(a.Name, b.Name) })
}

// summarised is the row that stands for another, or that itself.
func summarised(row Row, summaries []Row) Row {
	for _, s := range summaries {
		if strings.HasPrefix(row.Name, strings.TrimSuffix(s.Name, "…")) {
			return s
		}
	}
	return row
}

// all gives what a registry describes.
func all(r *prometheus.Registry) <-chan *prometheus.Desc {
	ch := make(chan *prometheus.Desc)
	go func() {
		defer close(ch)
		r.Describe(ch)
	}()
	return ch
}

// Guess gives the type of a metric that has no series yet and so tells none. It takes names that allow it.
func Guess(name string) string {
	switch {
	case strings.HasSuffix(name, "_total"):
		return "counter"
	case strings.HasPrefix(name, "podplane_") && strings.HasSuffix(name, "_duration_seconds") && !strings.Contains(name, "_source_"):
		return "histogram"
	default:
		return "gauge"
	}
}

// descText is how a Desc prints itself, the only way to learn what is in it.
var descText = regexp.MustCompile(`^Desc\{fqName: "(.*?)", help: "(.*?)", (?:unit: ".*", )?constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func parse(t *testing.T, d *prometheus.Desc) Row {
	t.Helper()
	m := descText.FindStringSubmatch(d.String())
	if m == nil {
		t.Fatalf("cannot read %s", d)
	}
	var quoted []string
	for label := range strings.SplitSeq(m[3]+","+m[4], ",") {
		if name, _, _ := strings.Cut(label, "="); name != "" { // a constant one has a value
			quoted = append(quoted, "`"+name+"`")
		}
	}
	return Row{Name: m[1], Labels: strings.Join(quoted, ", "), Help: strings.ReplaceAll(m[2], "|", `\|`)}
}

// table is the metrics in Markdown.
func table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Name, r.Kind, r.Labels, r.Help)
	}
	return b.String()
}

// Check fails the test if the table of the page at path is another than that of rows, or, with update, rewrites it.
func Check(t *testing.T, path string, rows []Row, update bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin+"\n")
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s is without the lines %s and %s", path, begin, end)
	}
	want := before + begin + "\n" + table(rows) + end + after
	switch {
	case want == string(data):
	case !update:
		t.Errorf("the metrics in %s are not those that are registered: run this test with -update", path)
	default:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
