// SPDX-License-Identifier: MPL-2.0

package envoybin

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"podplane/integration/servers"
)

const printVersion = `package main

import "podplane/version"

func main() { println("Envoy stand-in version: 0/" + version.Number + "/Clean/RELEASE/none") }
`

// tree is a module with a stand-in of a few lines, which imports one package of its module.
func tree(t *testing.T) (builder, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	b := builder{root: t.TempDir(), cache: t.TempDir(), log: log}
	for name, content := range map[string]string{
		"go.mod":                      "module podplane\n\ngo 1.26\n",
		"go.sum":                      "",
		"integration/standin/main.go": printVersion,
		"version/version.go":          "package version\n\nconst Number = \"1.35.0\"\n",
	} {
		write(t, filepath.Join(b.root, name), content)
	}
	return b, log
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStandInIsBuiltAgainOnlyWhenChanged(t *testing.T) {
	t.Parallel()
	b, log := tree(t)
	first, err := b.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), first) {
		t.Errorf("log %q does not say what is built", log)
	}
	log.Reset()
	if second, err := b.build(t.Context()); second != first || err != nil || log.Len() > 0 {
		t.Errorf("second build: %q, %v, log %q; want %q and silence", second, err, log, first)
	}
	write(t, filepath.Join(b.root, "version/version.go"), "package version\n\nconst Number = \"1.36.0\"\n")
	changed, err := b.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{first: "1.35.0", changed: "1.36.0"} {
		got, err := inspect(t.Context(), path, Default)
		if err != nil || got.Version != want || got.Kind != StandIn {
			t.Errorf("%s: %+v, %v; want the stand-in of version %s", path, got, err, want)
		}
		if !strings.Contains(got.String(), "no real Envoy") {
			t.Errorf("report %q does not say that this is no real Envoy", got)
		}
	}
	left, err := os.ReadDir(b.cache)
	if err != nil || len(left) != 2 {
		t.Errorf("cache holds %v, %v; want the two stand-ins alone", left, err)
	}
}

func TestOldStandInsAreRemoved(t *testing.T) {
	t.Parallel()
	b, _ := tree(t)
	used, err := b.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-keepUnused - time.Minute)
	for name, age := range map[string]time.Time{
		"standin-old": long, "standin-young": time.Now().Add(-keepUnused + time.Hour), "standin-build-1/standin": long, "consul-1.0.0": long,
	} {
		path := filepath.Join(b.cache, name)
		write(t, path, "")
		for ; path != b.cache; path = filepath.Dir(path) {
			if err := os.Chtimes(path, age, age); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chtimes(used, long, long); err != nil {
		t.Fatal(err)
	}
	if again, err := b.build(t.Context()); again != used || err != nil { // a use keeps it
		t.Fatalf("got %q, %v; want %q", again, err, used)
	}
	write(t, filepath.Join(b.root, "version/version.go"), "package version\n\nconst Number = \"1.36.0\"\n")
	changed, err := b.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"consul-1.0.0", filepath.Base(used), filepath.Base(changed), "standin-young"}
	var left []string
	entries, err := os.ReadDir(b.cache)
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("cache holds %v, %v; want %v", left, err, want)
	}
}

func TestBrokenStandIn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ file, content, want string }{
		"does not compile": {"integration/standin/main.go", "package main\n\nfunc main() { nonsense() }\n", "nonsense"},
		"no go.mod":        {"go.mod", "nonsense", "go.mod"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := tree(t)
			write(t, filepath.Join(b.root, tt.file), tt.content)
			path, err := b.build(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v; want an error about %q", path, err, tt.want)
			}
			if left, _ := os.ReadDir(b.cache); len(left) > 0 {
				t.Errorf("cache holds %v after a broken build", left)
			}
		})
	}
}

func TestRealStandInHasSources(t *testing.T) {
	t.Parallel()
	root, err := servers.ModuleDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files, err := builder{root: root}.sources(t.Context())
	if err != nil || len(files) == 0 {
		t.Fatalf("sources of the stand-in: %v, %v", files, err)
	}
	for _, file := range files {
		if !strings.HasPrefix(file, root) {
			t.Errorf("%s is not of this module", file)
		}
	}
}

func TestFindFallsBackToTheStandIn(t *testing.T) {
	b, _ := tree(t)
	goPath, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	goCache, err := servers.Go(t.Context(), "", "env", "GOCACHE")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir() // has the go command, and certainly no envoy
	if err := os.Symlink(goPath, filepath.Join(bin, "go")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(b.root)
	t.Setenv("PATH", bin)
	t.Setenv(EnvVar, "")
	t.Setenv("GOCACHE", strings.TrimSpace(string(goCache))) // its default is below the next one
	t.Setenv("XDG_CACHE_HOME", b.cache)
	got, err := Find(t.Context())
	if err != nil || got.Kind != StandIn || got.Version != "1.35.0" || !strings.HasPrefix(got.Path, b.cache) {
		t.Errorf("got %+v, %v; want a stand-in from %s", got, err, b.cache)
	}
	if !strings.Contains(got.String(), "$ENVOY is not set") {
		t.Errorf("report %q does not say why", got)
	}
}
