// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"podplane/config"
)

// othersFlags are flags in the text that are not settings of ours: of our commands, and of other programs.
var othersFlags = []string{
	"timeout", "for", // of podplane's commands
	"keep", "bin", "vs", "json", "only", "rounds", "quick", "doc", "check", "update", // of programs of the tree
	"tags", "race", // of go
}

var (
	flagName   = regexp.MustCompile("`-([a-z][a-z-]+)(?:[=` ]|$)")
	variable   = regexp.MustCompile(`\b((?:DP|PODPLANE_INJECTOR)_[A-Z0-9_]*[A-Z0-9])\b`)
	metricName = regexp.MustCompile(`\b((?:podplane|consul_dataplane)_[a-z]+_[a-z0-9_]*[a-z0-9])\b`)
)

// TestNames: settings, variables and metrics that the text names are there.
func TestNames(t *testing.T) {
	t.Parallel()
	flags, variables := slices.Clone(othersFlags), []string{}
	for _, s := range slices.Concat(config.Settings(), config.CompanionSettings()) {
		flags, variables = append(flags, s.Flag), append(variables, s.Env)
	}
	said := literals(t)
	lines := slices.Concat(readPage(t, "docs/reference/metrics.md").Lines, readPage(t, "docs/reference/injector-metrics.md").Lines)
	metrics := strings.Join(lines, "\n")
	counts := map[string]int{}
	for _, page := range commandPages(t) {
		if strings.HasPrefix(page.Path, "docs/reference/") && strings.Contains(page.Path, "settings") {
			continue // generated
		}
		for i, line := range page.Lines {
			where := func(kind, name string) { t.Errorf("%s:%d: there is no %s %s", page.Path, i+1, kind, name) }
			for _, m := range flagName.FindAllStringSubmatch(line, -1) {
				counts["flag"]++
				if !slices.Contains(flags, m[1]) {
					where("flag", m[1])
				}
			}
			for _, m := range variable.FindAllStringSubmatch(line, -1) {
				counts["variable"]++
				if !slices.Contains(variables, m[1]) {
					where("variable", m[1])
				}
			}
			for _, m := range metricName.FindAllStringSubmatch(line, -1) {
				counts["metric"]++
				if !strings.Contains(metrics, "| `"+m[1]+"`") && !said[m[1]] {
					where("metric", m[1])
				}
			}
		}
	}
	for kind, least := range map[string]int{"flag": 50, "variable": 5, "metric": 50} {
		if counts[kind] < least {
			t.Errorf("only %d of kind %s were found", counts[kind], kind)
		}
	}
}
