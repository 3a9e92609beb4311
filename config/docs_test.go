// SPDX-License-Identifier: MPL-2.0

package config

import (
	"os"
	"strings"
	"testing"
)

// TestDocuments keeps the settings tables of the documents equal to the table.
// With -update it rewrites them.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"README": "../README.md", "reference": "../docs/reference/settings.md", "companion": "../docs/reference/injector-settings.md",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path) // #nosec G304 -- a constant
			if err != nil {
				t.Fatal(err)
			}
			before, rest, found := strings.Cut(string(data), MarkdownBegin+"\n")
			_, after, closed := strings.Cut(rest, MarkdownEnd)
			if !found || !closed {
				t.Fatalf("%s is without the lines %s and %s", path, MarkdownBegin, MarkdownEnd)
			}
			table := Markdown()
			if name == "companion" {
				table = CompanionMarkdown()
			}
			want := before + MarkdownBegin + "\n" + table + MarkdownEnd + after
			if want == string(data) {
				return
			}
			if !*update {
				t.Fatalf("the settings in %s are not those of the table: run go test ./config -update", path)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil { // #nosec G306 -- a public document
				t.Fatal(err)
			}
		})
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	table := Markdown()
	for _, s := range Settings() {
		if !strings.Contains(table, "| `-"+s.Flag+"` |") {
			t.Errorf("-%s is missing", s.Flag)
		}
	}
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 6 {
			t.Errorf("not five columns: %s", line)
		}
	}
	if got := cell("a|b"); got != `a\|b` {
		t.Error(got)
	}
}
