// SPDX-License-Identifier: MPL-2.0

package servers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tiny is a server of three lines, to build in a second.
func tiny(t *testing.T) (build, *bytes.Buffer) {
	t.Helper()
	module := t.TempDir()
	write(t, filepath.Join(module, "go.mod"), "module tiny\n\ngo 1.26\n")
	write(t, filepath.Join(module, "go.sum"), "")
	write(t, filepath.Join(module, "main.go"), "package main\n\nfunc main() { println(\"tiny\") }\n")
	log := &bytes.Buffer{}
	return build{
		server:   Server{Name: "tiny", Version: "1.0.0", Package: "tiny", BuildTime: time.Second},
		module:   module,
		cache:    t.TempDir(),
		log:      &sharedLog{w: log},
		sayEvery: time.Hour,
	}, log
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBuildsOnceThenOnlyWhenChanged(t *testing.T) {
	t.Parallel()
	b, log := tiny(t)
	for _, step := range []struct {
		name, want string
		change     func()
	}{
		{name: "first", want: "built in"},
		{name: "unchanged", want: "ready: "},
		{name: "changed go.mod", want: "built in", change: func() {
			write(t, filepath.Join(b.module, "go.mod"), "module tiny\n\ngo 1.26.0\n")
		}},
	} {
		if step.change != nil {
			step.change()
		}
		log.Reset()
		if err := b.run(t.Context()); err != nil {
			t.Fatalf("%s: %v\n%s", step.name, err, log)
		}
		if !strings.Contains(log.String(), step.want) {
			t.Errorf("%s: log %q does not say %q", step.name, log, step.want)
		}
	}
	out, err := exec.CommandContext(t.Context(), b.server.binary(b.cache)).CombinedOutput()
	if err != nil || string(out) != "tiny\n" {
		t.Errorf("binary says %q, %v", out, err)
	}
}

func TestBrokenBuildLeavesNoBinary(t *testing.T) {
	t.Parallel()
	b, log := tiny(t)
	write(t, filepath.Join(b.module, "main.go"), "package main\n\nfunc main() { undefined() }\n")
	if err := b.run(t.Context()); err == nil {
		t.Fatal("a broken build succeeded")
	}
	if !strings.Contains(log.String(), "undefined") {
		t.Errorf("the compiler's words are missing: %q", log)
	}
	if _, err := os.Stat(b.server.binary(b.cache)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("binary after a broken build: %v", err)
	}
}

func TestSecondBuildWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	b, log := tiny(t)
	release, err := b.lock(t.Context(), b.server.binary(b.cache)+".lock")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockPoll)
	defer cancel()
	if err := b.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("build beside another: %v, want a deadline", err)
	}
	if !strings.Contains(log.String(), "waiting") {
		t.Errorf("log %q does not say that it waits", log)
	}
	release()
	if err := b.run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMissingModule(t *testing.T) {
	t.Parallel()
	b, _ := tiny(t)
	b.module = filepath.Join(b.module, "absent")
	if err := b.run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}

// slowGo puts a go command on PATH that writes its output file at once and then works until it is told to stop,
// which it does in its own way.
func slowGo(t *testing.T, stop string) {
	t.Helper()
	script := "#!/bin/sh\n" +
		"while [ \"$1\" != -o ]; do shift; done\n" +
		"echo half >\"$2\"\n" +
		"trap '" + stop + "' INT\n" +
		"echo compiling\n" +
		"while :; do sleep 0.01; done\n"
	dir := t.TempDir()
	path := filepath.Join(dir, "go")
	write(t, path, script)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// cancelOn cancels when all of the words have been written.
type cancelOn struct {
	words  []string
	cancel context.CancelFunc
	seen   bytes.Buffer
}

func (c *cancelOn) Write(b []byte) (int, error) {
	n, err := c.seen.Write(b)
	for _, words := range c.words {
		if !strings.Contains(c.seen.String(), words) {
			return n, err
		}
	}
	c.cancel()
	return n, err
}

func TestInterruptedBuildLeavesNothing(t *testing.T) {
	slowGo(t, "echo interrupted; exit 1")
	b, _ := tiny(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &cancelOn{words: []string{"compiling", "still building after"}, cancel: cancel}
	b.log, b.sayEvery = &sharedLog{w: log}, 100*time.Millisecond
	if err := b.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if !strings.Contains(log.seen.String(), "interrupted") {
		t.Errorf("log %q: the go command was not asked to stop", log.seen.String())
	}
	left, err := filepath.Glob(filepath.Join(b.cache, "*"))
	if lock := b.server.binary(b.cache) + ".lock"; err != nil || len(left) != 1 || left[0] != lock {
		t.Errorf("left in the cache: %v, %v; want the lock alone", left, err)
	}
}

func TestNoGoCommand(t *testing.T) {
	b, _ := tiny(t)
	t.Setenv("PATH", t.TempDir())
	if err := b.run(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
}
