// SPDX-License-Identifier: MPL-2.0

package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files and the settings tables of the documents")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is an environment.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// valid are the arguments that a sidecar needs at least.
func valid(more ...string) []string {
	return append([]string{"-addresses=consul.example", "-proxy-id=web-proxy"}, more...)
}

// mustLoad loads what has to be right.
func mustLoad(t *testing.T, args []string, e env) *Config {
	t.Helper()
	c, err := Load(args, e.lookup)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems loads what has to be wrong and returns the lines of the error.
func problems(t *testing.T, args []string, e env) []string {
	t.Helper()
	c, err := Load(args, e.lookup)
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("error %v, want an *Error", err)
	}
	if c != nil {
		t.Error("a Config came with the error")
	}
	lines := make([]string, len(all.Problems))
	for i, p := range all.Problems {
		lines[i] = p.String()
	}
	return lines
}

// wantOne checks that there is exactly one problem, with all the parts.
func wantOne(t *testing.T, got []string, parts ...string) {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d problems, want one:\n%s", len(got), strings.Join(got, "\n"))
	}
	for _, part := range parts {
		if !strings.Contains(got[0], part) {
			t.Errorf("problem %s\nis without %s", got[0], part)
		}
	}
}

// writeFile puts a file into a folder of the test.
func writeFile(t *testing.T, name, contents string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
