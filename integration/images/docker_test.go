// SPDX-License-Identifier: MPL-2.0

package images

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scriptedDocker puts a docker in PATH that writes down its arguments, and does what the script says. What the engine
// and a registry answer cannot be had at will otherwise.
func scriptedDocker(t *testing.T, script string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	text := "#!/bin/sh\necho \"$@\" >>" + log + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return log
}

func TestEnsure(t *testing.T) {
	const (
		unreachable = `case $1 in image) exit 1;; pull) echo 'lookup registry.example: no such host' >&2; exit 1;; esac`
		unknown     = `case $1 in image) exit 1;; pull) echo 'manifest unknown' >&2; exit 1;; esac`
		broken      = `case $1 in image) exit 1;; pull) echo '1: Pulling from x'; echo 'no space left' >&2; exit 1;; esac`
		pulls       = `case $1 in image) exit 1;; pull) echo '1: Pulling from x';; esac`
		has         = `case $1 in image) echo linux/amd64;; *) exit 1;; esac`
		otherHas    = `case $1 in image) echo linux/arm64;; pull) echo '1: Pulling from x';; esac`
	)
	pin := Pin{Base, "registry.example/base:1"}
	envoy := staticEnvoy(t) // before Go's cache moves with the other one
	tests := map[string]struct {
		script string
		source Source
		want   string // the image's name
		err    string
		log    string // what Ensure says
	}{
		"there already":             {has, Auto, pin.Image, "", "as the engine has it"},
		"of another platform":       {otherHas, Auto, pin.Image, "", "pulled"},
		"pulled":                    {pulls, Auto, pin.Image, "", "pulled"},
		"made locally":              {unreachable, Auto, "podplane-local/base:amd64", "", "no such host"},
		"registry demanded":         {unreachable, Registry, "", "no such host", ""},
		"not what was asked for":    {unknown, Auto, "", "manifest unknown", ""},
		"failed after it had begun": {broken, Auto, "", "no space left", ""},
		"local demanded":            {pulls, Local, "podplane-local/base:amd64", "", "made locally"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ENVOY", envoy)
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			scriptedDocker(t, tt.script)
			var log bytes.Buffer
			b := &Builder{Root: root, Platform: "linux/amd64", Source: tt.source, Log: &log}
			got, err := b.Ensure(t.Context(), pin)
			if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v; want %q and an error with %q", got, err, tt.want, tt.err)
			}
			if !strings.Contains(log.String(), tt.log) {
				t.Errorf("it says %q, and not %q", &log, tt.log)
			}
		})
	}
}

// staticEnvoy is a static program whose `--version` is Envoy's, so that nothing bigger is built.
func staticEnvoy(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"envoy  version: 0/1.35.9/Clean/RELEASE/x\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestUnreachableIsAskedOnce(t *testing.T) {
	t.Setenv("ENVOY", staticEnvoy(t)) // before Go's cache moves with the other one
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	log := scriptedDocker(t, `case $1 in image) exit 1;; pull) echo 'no such host' >&2; exit 1;; esac`)
	b := &Builder{Root: root, Platform: "linux/amd64", Source: Auto, Log: &bytes.Buffer{}}
	for range 2 {
		if _, err := b.Ensure(t.Context(), Pin{Base, "registry.example/base:1"}); err != nil {
			t.Fatal(err)
		}
	}
	said, err := os.ReadFile(log)
	if n := strings.Count(string(said), "pull "); n != 1 || err != nil {
		t.Errorf("%d pulls, %v:\n%s", n, err, said)
	}
}

func TestUnknownPinCannotBeMadeLocally(t *testing.T) {
	t.Parallel()
	b := &Builder{Root: root, Platform: "linux/amd64", Source: Local, Log: &bytes.Buffer{}}
	if _, err := b.Ensure(t.Context(), Pin{"NO_IMAGE", "x:1"}); err == nil || !strings.Contains(err.Error(), "NO_IMAGE") {
		t.Errorf("got %v", err)
	}
}

func TestBuildPrefersBuildx(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"buildx":  {"", "buildx build --builder default --load x"},
		"classic": {"case $1 in buildx) exit 1;; build) echo \"buildkit=$DOCKER_BUILDKIT\" >>$0.env;; esac", "\nbuild x"},
	} {
		t.Run(name, func(t *testing.T) {
			log := scriptedDocker(t, tt.script)
			if err := (Docker{}).Build(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			said, err := os.ReadFile(log)
			if err != nil || !strings.Contains(string(said), tt.want) {
				t.Errorf("docker was called with %q, %v; want %q", said, err, tt.want)
			}
		})
	}
}

func TestErrorsSayWhatDockerSaid(t *testing.T) {
	scriptedDocker(t, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
	if err := (Docker{}).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "Cannot connect") {
		t.Errorf("got %v", err)
	}
	if err := (Docker{}).pull(t.Context(), "x:1", "linux/amd64"); !errors.Is(err, errUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestBuildProduct(t *testing.T) {
	const answers = `case "$*" in *Architecture*) echo linux/amd64;; *Size*) echo 17;; "buildx version") exit 1;; esac`
	log := scriptedDocker(t, answers)
	dir := t.TempDir()
	for _, name := range []string{"versions.env", "Dockerfile"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(read(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	b := &Builder{Root: dir, Platform: "linux/amd64", Source: Auto, Log: &out}
	p := Product{Tag: "t", Version: "v1", Revision: "r", Binaries: "bin", Suffix: "-s"}
	if _, err := b.BuildProduct(t.Context(), p); err == nil || !strings.Contains(err.Error(), "make image-binaries") {
		t.Errorf("without binaries: %v", err)
	}
	binary := filepath.Join(dir, "bin/linux/amd64/podplane")
	if err := errors.Join(os.MkdirAll(filepath.Dir(binary), 0o700), os.WriteFile(binary, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	names, err := b.BuildProduct(t.Context(), p)
	if err != nil || len(names) != 1 || names[0] != "podplane:t-s" {
		t.Fatalf("got %q, %v", names, err)
	}
	if !strings.Contains(out.String(), "podplane-injector: not built") {
		t.Errorf("it does not say what is missing: %s", &out)
	}
	said, err := os.ReadFile(log)
	for _, want := range []string{"--target podplane ", "TARGETPLATFORM=linux/amd64", "BINARIES=bin", "VERSION=v1", "ENVOY_IMAGE=envoyproxy/envoy:"} {
		if err != nil || !strings.Contains(string(said), want) {
			t.Errorf("%q is not among the arguments, %v: %s", want, err, said)
		}
	}
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Source{"": Auto, "auto": Auto, "registry": Registry, "local": Local} {
		if got, err := ParseSource(in); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := ParseSource("nowhere"); err == nil || !strings.Contains(err.Error(), SourceVar) {
		t.Errorf("got %v", err)
	}
}
