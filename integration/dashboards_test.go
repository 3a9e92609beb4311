// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"podplane/integration/servers"
)

const (
	dashboardPath = "../deploy/grafana/podplane.json"
	rulesPath     = "../deploy/prometheus/podplane.rules.yaml"
)

// TestRules has promtool read the alert rules.
func TestRules(t *testing.T) {
	t.Parallel()
	must(t, servers.CheckRules(t.Context(), rulesPath))
}

// panelQueries are the queries of the dashboard, with its variables replaced as
// Grafana does when everything is selected.
func panelQueries(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(dashboardPath)
	must(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(data, &dashboard))
	variables := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "1m")
	var queries []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, variables.Replace(target.Expr))
		}
	}
	return queries
}

// alertQueries are the queries of the alert rules.
func alertQueries(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(rulesPath)
	must(t, err)
	var queries []string
	for _, m := range regexp.MustCompile(`(?m)^ +expr: (.+)$`).FindAllStringSubmatch(string(data), -1) {
		queries = append(queries, m[1])
	}
	return queries
}

var (
	// notMetrics are the parts of a query in which names are those of labels.
	notMetrics = regexp.MustCompile(`\{[^}]*\}|\b(by|without|on|ignoring) *\([^)]*\)`)
	// metricName matches the metrics of podplane and of Envoy.
	metricName = regexp.MustCompile(`\b(podplane|envoy|consul_dataplane)_[a-z0-9_]+\b`)
)

// expectQueries checks that Prometheus understands all queries of dashboard and
// alerts, and has each metric that they name.
func expectQueries(t *testing.T, p promServer) {
	t.Helper()
	panels, alerts := panelQueries(t), alertQueries(t)
	if len(panels) < 30 || len(alerts) < 10 {
		t.Fatalf("found %d queries of panels and %d of alerts", len(panels), len(alerts))
	}
	exists := p.names(t)
	for _, query := range append(panels, alerts...) {
		var data any
		if err := p.get(t.Context(), "query", url.Values{"query": {query}}, &data); err != nil {
			t.Error(err)
		}
		names := metricName.FindAllString(notMetrics.ReplaceAllString(query, ""), -1)
		if len(names) == 0 {
			t.Errorf("no metric in %s", query)
		}
		for _, name := range names {
			if !exists[name] {
				t.Errorf("nothing gives %s, which is in %s", name, query)
			}
		}
	}
}
