// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	exitBegin = "<!-- exit-codes:begin -->\n"
	exitEnd   = "<!-- exit-codes:end -->"
)

// TestExitCodes: the reference has the table of the README, which the tests of package dataplane hold to the constants.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	must(t, err)
	_, section, found := strings.Cut(string(readme), "\n## Exit codes\n")
	if !found {
		t.Fatal("the README has no section on exit codes")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	table := strings.Join(regexp.MustCompile(`(?m)^\|.*\|$`).FindAllString(section, -1), "\n") + "\n"
	path := filepath.Join(root, "docs/reference/exit-codes.md")
	data, err := os.ReadFile(path)
	must(t, err)
	before, rest, begins := strings.Cut(string(data), exitBegin)
	got, after, ends := strings.Cut(rest, exitEnd)
	switch {
	case !begins || !ends:
		t.Fatal("the reference has no place for the table")
	case got == table:
	case *update:
		must(t, os.WriteFile(path, []byte(before+exitBegin+table+exitEnd+after), 0o644))
	default:
		t.Errorf("the table in %s is not that of the README: run make golden", path)
	}
}
