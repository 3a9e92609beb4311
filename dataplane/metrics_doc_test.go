// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"flag"
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

var update = flag.Bool("update", false, "rewrite the table of metrics in the reference")

// The lines between which the reference has its table.
const (
	metricsBegin = "<!-- metrics:begin -->"
	metricsEnd   = "<!-- metrics:end -->"
)

// described is a row of the table.
type described struct{ name, kind, labels, help string }

// summarised are the families of which the table has one row, by prefix.
var summarised = map[string]described{
	"podplane_go_":      {name: "podplane_go_…", help: "The Go runtime, as the collector of client_golang tells it."},
	"podplane_process_": {name: "podplane_process_…", help: "podplane's process, as the collector of client_golang tells it."},
}

// describe lists all metrics of a sidecar with everything turned on.
func describe(t *testing.T) []described {
	t.Helper()
	s, err := prepare(t, (&fakeConsul{}).start(t), "-consul-dns-bind-port=0", "-service-file="+serviceFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]string)
	for _, f := range families {
		kinds[f.GetName()] = strings.ToLower(dto.MetricType_name[int32(f.GetType())])
	}
	rows := make(map[string]described)
	for d := range all(s.registry) {
		row := parse(t, d)
		for prefix, summary := range summarised {
			if strings.HasPrefix(row.name, prefix) {
				row = summary
			}
		}
		if row.kind = kinds[row.name]; row.kind == "" && !strings.HasSuffix(row.name, "…") {
			row.kind = guess(row.name)
		}
		rows[row.name] = row
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b described) int { return strings.Compare(a.name, b.name) })
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

// guess gives the type of a metric that has no series yet and so tells none.
// TestMetricsAreNamedByType holds that the names allow it.
func guess(name string) string {
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

func parse(t *testing.T, d *prometheus.Desc) described {
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
	return described{name: m[1], labels: strings.Join(quoted, ", "), help: strings.ReplaceAll(m[2], "|", `\|`)}
}

// table is the metrics in Markdown.
func table(rows []described) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, r.kind, r.labels, r.help)
	}
	return b.String()
}

// TestMetricsDocuments keeps the table of the reference equal to what is
// registered. With -update it rewrites it.
func TestMetricsDocuments(t *testing.T) {
	t.Parallel()
	generated := table(describe(t))
	const path = "../docs/reference/metrics.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), metricsBegin+"\n")
	_, after, closed := strings.Cut(rest, metricsEnd)
	if !found || !closed {
		t.Fatalf("%s is without the lines %s and %s", path, metricsBegin, metricsEnd)
	}
	want := before + metricsBegin + "\n" + generated + metricsEnd + after
	switch {
	case want == string(data):
	case !*update:
		t.Errorf("the metrics in %s are not those that are registered: run go test ./dataplane -run TestMetricsDocuments -update", path)
	default:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMetricsAreNamedByType: one prefix a component, and a name that tells the
// type as far as guess needs it.
func TestMetricsAreNamedByType(t *testing.T) {
	t.Parallel()
	components := []string{"build", "serverconn", "xds", "envoy", "lifecycle", "dns", "scrape", "registration", "go", "process"}
	for _, r := range describe(t) {
		if r.kind != "" && r.kind != guess(r.name) && !strings.HasPrefix(r.name, "consul_dataplane_") {
			t.Errorf("%s is a %s and would be taken for a %s", r.name, r.kind, guess(r.name))
		}
		own, ours := strings.CutPrefix(r.name, "podplane_")
		component, _, _ := strings.Cut(own, "_")
		if !ours && !strings.HasPrefix(r.name, "consul_dataplane_") || ours && !slices.Contains(components, component) {
			t.Errorf("%s has the prefix of no component", r.name)
		}
		if r.help == "" {
			t.Errorf("%s has no help", r.name)
		}
	}
}
