// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// literals are all texts in the product's source, whatever they are there for.
func literals(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "integration" || strings.HasPrefix(entry.Name(), ".") && path != root):
			return filepath.SkipDir
		case entry.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					all[text] = true
				}
			}
			return true
		})
		return nil
	}))
	return all
}

var quoted = regexp.MustCompile(`"([^"]+)"`)

// TestQuotedMessages: what the page on troubles quotes of the log can be found in a log.
func TestQuotedMessages(t *testing.T) {
	t.Parallel()
	page := readPage(t, "docs/troubleshooting.md")
	known := literals(t)
	text := strings.Join(strings.Fields(inline.ReplaceAllString(strings.Join(page.Prose(), "\n"), "")), " ")
	messages := quoted.FindAllStringSubmatch(text, -1)
	for _, m := range messages {
		if !known[m[1]] {
			t.Errorf("no part of the product says %q", m[1])
		}
	}
	if len(messages) < 10 {
		t.Errorf("only %d messages were found", len(messages))
	}
}

func readPage(t *testing.T, name string) Page {
	t.Helper()
	page, err := ReadPage(filepath.Join(root, name), name)
	must(t, err)
	return page
}

// TestAnnotations: the reference has every annotation and label that is read, and no other.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "meshpod/names.go"), nil, parser.SkipObjectResolution)
	must(t, err)
	names := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		sum, ok := n.(*ast.BinaryExpr)
		if !ok {
			return true
		}
		prefix, isName := sum.X.(*ast.Ident)
		lit, isText := sum.Y.(*ast.BasicLit)
		if isName && isText && prefix.Name == "Prefix" {
			name, err := strconv.Unquote(lit.Value)
			must(t, err)
			names[name] = true
		}
		return true
	})
	if len(names) < 40 {
		t.Fatalf("only %d names in the source", len(names))
	}
	documented := map[string]bool{}
	row := regexp.MustCompile("^\\| `([a-z-]+)…?`")
	for _, line := range readPage(t, "docs/reference/annotations.md").Prose() {
		if m := row.FindStringSubmatch(line); m != nil {
			documented[m[1]] = true
		}
	}
	for name := range names {
		if !documented[name] {
			t.Errorf("docs/reference/annotations.md has no row for %s", name)
		}
	}
	for name := range documented {
		if !names[name] {
			t.Errorf("docs/reference/annotations.md has a row for %s, which nobody reads", name)
		}
	}
}

// TestLinks: what pages link to within the repository is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, page := range allPages(t) {
		for _, l := range page.Links() {
			if strings.Contains(l.Target, "://") || strings.HasPrefix(l.Target, "mailto:") {
				continue
			}
			seen++
			path, anchor, _ := strings.Cut(l.Target, "#")
			target := page.Path
			if path != "" {
				target = filepath.Join(filepath.Dir(page.Path), path)
			}
			if matches, _ := filepath.Glob(filepath.Join(root, target)); len(matches) != 1 {
				t.Errorf("%s:%d: there is no %s", page.Path, l.Line, target)
				continue
			}
			if anchor != "" && !readPage(t, target).Anchors()[anchor] {
				t.Errorf("%s:%d: %s has no heading #%s", page.Path, l.Line, target, anchor)
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d links were found", seen)
	}
}

// allPages are the pages of the repository.
func allPages(t *testing.T) []Page {
	t.Helper()
	pages := commandPages(t)
	for _, pattern := range []string{"*.md", "deploy/*.md", "deploy/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		must(t, err)
		for _, path := range found {
			name, _ := filepath.Rel(root, path)
			if !slices.ContainsFunc(pages, func(p Page) bool { return p.Path == name }) {
				pages = append(pages, readPage(t, name))
			}
		}
	}
	return pages
}

// TestIndex: docs/README.md leads to every page.
func TestIndex(t *testing.T) {
	t.Parallel()
	linked := map[string]bool{}
	for _, l := range readPage(t, "docs/README.md").Links() {
		path, _, _ := strings.Cut(l.Target, "#")
		linked[filepath.Join("docs", path)] = true
	}
	for _, page := range commandPages(t) {
		if strings.HasPrefix(page.Path, "docs/") && page.Path != "docs/README.md" && !linked[page.Path] {
			t.Errorf("docs/README.md has no link to %s", page.Path)
		}
	}
}
