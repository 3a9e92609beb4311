// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A page of the forms that are allowed.
const goodPage = `# A page: of *forms*

<!-- run: here -->
<!-- prints: one -->
<!-- prints: two -->
` + fence + `sh
echo one
echo two
` + fence + `

` + fence + `sh
rm …
` + fence + `
<!-- not run: dangerous -->
<!-- serves: http://127.0.0.1:1/ -->
<!-- run: there -->
` + fence + `sh
sleep 1
` + fence + `

` + fence + `hcl
a = 1
` + fence + `

## A page: of *forms*
[a](other.md#anchor) and ` + "`[b](c)`" + `
`

func TestBlocksOfAPage(t *testing.T) {
	t.Parallel()
	page, err := ParsePage("page.md", goodPage)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := page.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != 3 || len(page.Code) != 4 {
		t.Fatalf("got %+v", blocks)
	}
	first, second, third := blocks[0], blocks[1], blocks[2]
	if first.Scenario != "here" || !slices.Equal(first.Prints, []string{"one", "two"}) ||
		first.Text != "echo one\necho two\n" || first.String() != "page.md:7" {
		t.Errorf("got %+v", first)
	}
	if second.NotRun != "dangerous" || second.Scenario != "" {
		t.Errorf("got %+v", second)
	}
	if third.Scenario != "there" || third.Serves != "http://127.0.0.1:1/" || third.NotRun != "" {
		t.Errorf("got %+v", third)
	}
	if got := page.Links(); len(got) != 1 || got[0].Target != "other.md#anchor" {
		t.Errorf("links %+v", got)
	}
	if got := page.Anchors(); !got["a-page-of-forms"] || !got["a-page-of-forms-1"] || len(got) != 2 {
		t.Errorf("anchors %v", got)
	}
}

func TestBlocksThatAreWrong(t *testing.T) {
	t.Parallel()
	block := func(text string) string { return fence + "sh\n" + text + fence + "\n" }
	for name, tt := range map[string]struct{ page, want string }{
		"nothing said":     {block("true\n"), "p.md:2: neither run nor said why not"},
		"far away":         {"<!-- run: a -->\n\n" + block("true\n"), "neither run"},
		"both":             {"<!-- run: a -->\n" + block("true\n") + "<!-- not run: b -->\n", "both"},
		"placeholder":      {"<!-- run: a -->\n" + block("kill <pid>\n"), `"<pid>"`},
		"dots":             {"<!-- run: a -->\n" + block("podplane …\n"), `"…"`},
		"empty":            {"<!-- run: a -->\n" + block(" \n"), "no commands"},
		"unknown comment":  {"<!-- runs: a -->\n" + block("true\n"), `no comment "runs"`},
		"prints, not run":  {"<!-- prints: a -->\n" + block("true\n") + "<!-- not run: b -->\n", "neither serve nor print"},
		"another language": {fence + "bash\ntrue\n" + fence + "\n", `the language is "bash"`},
		"no language":      {fence + "\ntrue\n" + fence + "\n", `the language is ""`},
	} {
		page, err := ParsePage("p.md", tt.page)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := page.Blocks(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	if _, err := ParsePage("p.md", "a\n"+fence+"sh\ntrue\n"); err == nil || !strings.Contains(err.Error(), "p.md:2: the block is not closed") {
		t.Errorf("got %v", err)
	}
	if _, err := ReadPage(filepath.Join(t.TempDir(), "nothing.md"), "nothing.md"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestRunBlock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text   string
		prints []string
		err    string
	}{
		"good":             {"echo one\necho two", []string{"one", "two"}, ""},
		"last line fails":  {"true\nfalse", nil, "exit code 1"},
		"first line fails": {"false\ntrue", nil, "exit code 1"},
		"in a pipe":        {"(echo x; exit 3) | cat", nil, "exit code 3"},
		"no such variable": {"echo $NOTHING_OF_THE_KIND", nil, "exit code"},
		"no such command":  {"no-such-command-anywhere", nil, "exit code 127"},
		"says other words": {"echo one", []string{"two"}, `does not print "two"`},
		"standard error":   {"echo one >&2", []string{"one"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			b := Block{Code: Code{Text: tt.text}, Page: "p.md", Prints: tt.prints}
			output, err := b.Run(ctx, Place{Dir: t.TempDir(), Env: []string{"PATH=" + os.Getenv("PATH")}})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %s; output %s", err, tt.err, output)
			}
		})
	}
}

// TestRunServingBlock: what serves is waited for and ended, and its exit code counts.
func TestRunServingBlock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text   string
		status int
		end    bool
		err    string
	}{
		"good":         {"until [ -e end ]; do sleep 0.05; done", 200, true, ""},
		"ends badly":   {"until [ -e end ]; do sleep 0.05; done; exit 4", 200, true, "exit code 4"},
		"ends early":   {"exit 0", 503, true, "ended with code 0 before"},
		"never serves": {"sleep 600", 503, true, "does not answer 200"},
		"never ends":   {"sleep 600", 200, false, "does not end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := patience
			if strings.HasPrefix(name, "never") {
				limit = 5 * time.Second // enough to begin, on a slow machine too
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) }))
			defer server.Close()
			dir := t.TempDir()
			b := Block{Code: Code{Text: tt.text}, Page: "p.md", Serves: server.URL}
			place := Place{Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH")}, End: func(context.Context) error {
				if !tt.end {
					return nil
				}
				return os.WriteFile(filepath.Join(dir, "end"), nil, 0o600)
			}}
			if output, err := b.Run(ctx, place); (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %s; output %s", err, tt.err, output)
			}
		})
	}
	b := Block{Code: Code{Text: "sleep 600"}, Serves: "http://" + closedPort(t)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := b.Run(ctx, Place{Dir: t.TempDir(), Env: []string{"PATH=" + os.Getenv("PATH")}}); err == nil || !strings.Contains(err.Error(), "does not answer 200") {
		t.Errorf("got %v", err)
	}
}

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
