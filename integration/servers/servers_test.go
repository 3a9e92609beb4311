// SPDX-License-Identifier: MPL-2.0

package servers

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFind(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv(Consul().Env, "")
	if _, err := Consul().Find(); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("empty cache: %v, want ErrNotBuilt", err)
	}
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(cache, "consul-"+Consul().Version)
	write(t, want, "")
	if got, err := Consul().Find(); got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	t.Setenv(Consul().Env, "/elsewhere/consul")
	if got, err := Consul().Find(); got != "/elsewhere/consul" || err != nil {
		t.Errorf("got %q, %v; want what the variable says", got, err)
	}
}

// The version appears in the module and in the name of the binary; they must not drift apart.
func TestVersionsEqualTheModules(t *testing.T) {
	t.Parallel()
	root, err := ModuleDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range All() {
		data, err := os.ReadFile(filepath.Join(root, "integration", "servers", s.folder(), "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		module, _, _ := strings.Cut(s.Package, "/cmd/")
		if want := module + " v" + s.Version + " "; !strings.Contains(string(data), want) {
			t.Errorf("%s/go.mod does not require %q", s.Name, want)
		}
	}
}

func TestBuildReportsTheServer(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	absent := Server{Name: "absent", Version: "0.0.0"}
	if _, err := absent.Build(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "build absent 0.0.0") {
		t.Errorf("got %v, want an error that names the server", err)
	}
}

func TestGoReportsWhatTheCommandSaid(t *testing.T) {
	t.Parallel()
	if _, err := Go(t.Context(), "", "list", "./nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v, want an error with the command's words", err)
	}
}

func TestBuildOfAReadyServerOnlyLooks(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	root, err := ModuleDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	consul := Consul()
	t.Setenv(consul.Env, "")
	b := build{server: consul, module: filepath.Join(root, "integration", "servers", "consul")}
	stamp, err := b.stamp()
	if err != nil {
		t.Fatal(err)
	}
	write(t, consul.binary(cache), "")
	write(t, consul.binary(cache)+".stamp", stamp)
	log := &bytes.Buffer{}
	path, err := consul.Build(t.Context(), log)
	if err != nil || path != consul.binary(cache) || !strings.Contains(log.String(), "ready: "+path) {
		t.Errorf("got %q, %v, log %q", path, err, log)
	}
}

func TestBuildTakesTheBinaryThatIsGiven(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // empty: a build would take minutes
	consul := Consul()
	log := &bytes.Buffer{}
	t.Setenv(consul.Env, "/bin/true")
	if path, err := consul.Build(t.Context(), log); path != "/bin/true" || err != nil {
		t.Errorf("got %q, %v; want what the variable says", path, err)
	}
	if !strings.Contains(log.String(), consul.Env) || !strings.Contains(log.String(), "/bin/true") {
		t.Errorf("log %q does not say where the binary comes from", log)
	}
	for name, path := range map[string]string{"absent": "/no/such/consul", "not executable": "/dev/null"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(consul.Env, path)
			if _, err := consul.Build(t.Context(), log); err == nil || !strings.Contains(err.Error(), consul.Env) {
				t.Errorf("got %v, want an error that names %s", err, consul.Env)
			}
		})
	}
}

func TestNoCacheFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	t.Setenv(Consul().Env, "")
	tests := map[string]struct{ xdg, home, want string }{
		"neither variable": {want: "find cache folder"},
		"under a file":     {xdg: file, want: "make cache folder"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", tt.xdg)
			t.Setenv("HOME", tt.home)
			if _, err := CacheDir(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, err := Consul().Find(); err == nil || errors.Is(err, ErrNotBuilt) {
				t.Errorf("Find: %v; want the fault of the folder", err)
			}
		})
	}
}
