// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// root is the repository.
const root = "../.."

// commandPages are the pages whose commands are run.
func commandPages(t *testing.T) []Page {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md"}
	must(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".md") {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return err
	}))
	pages := make([]Page, len(names))
	for i, name := range names {
		page, err := ReadPage(filepath.Join(root, name), name)
		must(t, err)
		pages[i] = page
	}
	return pages
}

// TestCommandsAreKnown: of each command it is said whether it is run, where, and if not, why.
func TestCommandsAreKnown(t *testing.T) {
	t.Parallel()
	run, not := 0, 0
	for _, page := range commandPages(t) {
		blocks, err := page.Blocks()
		if err != nil {
			t.Error(err)
		}
		for _, b := range blocks {
			if b.Scenario == "" {
				not++
				continue
			}
			run++
			if scenarios[b.Scenario] == nil {
				t.Errorf("%s: there is no scenario %q", b, b.Scenario)
			}
		}
	}
	if run == 0 {
		t.Error("nothing is run")
	}
	t.Logf("%d blocks of commands are run, %d are not", run, not)
}

// TestCommands runs them. Nothing here is parallel: the ports are those of the text.
func TestCommands(t *testing.T) {
	if here == nil {
		t.Skip("no commands are run:", whyNot)
	}
	byScenario := map[string][]Block{}
	for _, page := range commandPages(t) {
		blocks, _ := page.Blocks() // TestCommandsAreKnown tells what is wrong
		for _, b := range blocks {
			byScenario[b.Scenario] = append(byScenario[b.Scenario], b)
		}
	}
	for _, scenario := range slices.Sorted(maps.Keys(scenarios)) {
		t.Run(scenario, func(t *testing.T) {
			s := scenarios[scenario](t)
			for _, b := range byScenario[scenario] {
				t.Run(b.String(), func(t *testing.T) { runBlock(t, s, b) })
			}
		})
	}
}

func runBlock(t *testing.T, s site, b Block) {
	t.Helper()
	if s.around != nil {
		s.around(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	output, err := b.Run(ctx, s.place)
	t.Logf("%s took %s", b, time.Since(began).Round(time.Millisecond))
	if err != nil {
		t.Errorf("%s: %v\n%s--- output ---\n%s", b, err, b.Text, output)
	}
}

var (
	makeTarget = regexp.MustCompile(`(?m)^(?:.*&& )?make((?: [a-z][a-z-]*)+)`)
	treePath   = regexp.MustCompile(`(?:^|[ "'=])((?:deploy|integration|cmd|docs|\.ci)/[\w./-]*\w)`)
	ruleLine   = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
)

// TestCommandsNameWhatExists is for those that are not run, too: targets of make, and paths of the tree.
func TestCommandsNameWhatExists(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	must(t, err)
	var targets []string
	for _, m := range ruleLine.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	seen := 0
	for _, page := range commandPages(t) {
		for _, code := range page.Code {
			if code.Language != shell {
				continue
			}
			for _, m := range makeTarget.FindAllStringSubmatch(code.Text, -1) {
				for target := range strings.FieldsSeq(m[1]) {
					seen++
					if !slices.Contains(targets, target) {
						t.Errorf("%s:%d: there is no target %s", page.Path, code.First+1, target)
					}
				}
			}
			for _, m := range treePath.FindAllStringSubmatch(code.Text, -1) {
				seen++
				if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
					t.Errorf("%s:%d: %v", page.Path, code.First+1, err)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d names were found", seen)
	}
}
