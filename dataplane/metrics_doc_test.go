// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"podplane/integration/metricsdoc"
)

var update = flag.Bool("update", false, "rewrite the table of metrics in the reference")

// summaries are the families of which the table has one row.
var summaries = []metricsdoc.Row{
	{Name: "podplane_go_…", Help: "The Go runtime, as the collector of client_golang tells it."},
	{Name: "podplane_process_…", Help: "podplane's process, as the collector of client_golang tells it."},
}

// describe lists all metrics of a sidecar with everything turned on.
func describe(t *testing.T) []metricsdoc.Row {
	t.Helper()
	s, err := prepare(t, (&fakeConsul{}).start(t), "-consul-dns-bind-port=0", "-service-file="+serviceFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return metricsdoc.Rows(t, summaries, s.registry)
}

// TestMetricsDocuments keeps the table of the reference equal to what is
// registered. With -update it rewrites it.
func TestMetricsDocuments(t *testing.T) {
	t.Parallel()
	metricsdoc.Check(t, "../docs/reference/metrics.md", describe(t), *update)
}

// TestMetricsAreNamedByType: one prefix a component, and a name that tells the
// type as far as metricsdoc.Guess needs it.
func TestMetricsAreNamedByType(t *testing.T) {
	t.Parallel()
	components := []string{"build", "serverconn", "xds", "envoy", "lifecycle", "dns", "scrape", "registration", "go", "process"}
	for _, r := range describe(t) {
		if r.Kind != "" && r.Kind != metricsdoc.Guess(r.Name) && !strings.HasPrefix(r.Name, "consul_dataplane_") {
			t.Errorf("%s is a %s and would be taken for a %s", r.Name, r.Kind, metricsdoc.Guess(r.Name))
		}
		own, ours := strings.CutPrefix(r.Name, "podplane_")
		component, _, _ := strings.Cut(own, "_")
		if !ours && !strings.HasPrefix(r.Name, "consul_dataplane_") || ours && !slices.Contains(components, component) {
			t.Errorf("%s has the prefix of no component", r.Name)
		}
		if r.Help == "" {
			t.Errorf("%s has no help", r.Name)
		}
	}
}
