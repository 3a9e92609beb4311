// SPDX-License-Identifier: MPL-2.0

package servers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// buildArgs make a static, stripped binary: a third smaller, and it runs in any image.
func (s Server) buildArgs() []string {
	ldflags := "-s -w"
	if s.LinkerFlags != "" {
		ldflags += " " + s.LinkerFlags
	}
	args := []string{"build", "-trimpath", "-ldflags", ldflags}
	if s.Tags != "" {
		args = append(args, "-tags", s.Tags)
	}
	return args
}

const (
	// sayEvery is how often a build that is under way says so. The go command says nothing while it
	// compiles, and minutes of silence look like a fault.
	sayEvery = 30 * time.Second
	// interruptGrace is how long the go command may take to end its compilers after an interrupt.
	interruptGrace = 5 * time.Second
)

// Build makes sure that the server's binary is in the cache and up to date with its go.mod, go.sum and
// the Go toolchain, and returns its path. Progress for people goes to log. A build that another process
// has under way is waited for. Where the server's environment variable names a binary, nothing is built.
func (s Server) Build(ctx context.Context, log io.Writer) (string, error) {
	if path := os.Getenv(s.Env); path != "" {
		return s.given(path, log)
	}
	root, err := ModuleDir(ctx)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "integration", "servers", s.folder())
	b := build{server: s, module: module, cache: cache, log: &sharedLog{w: log}, sayEvery: sayEvery}
	if err := b.run(ctx); err != nil {
		return "", fmt.Errorf("build %s %s: %w", s.Name, s.Version, err)
	}
	return s.binary(cache), nil
}

// given checks the binary that the environment names, so that a wrong path is found here and not by the
// first test.
func (s Server) given(path string, log io.Writer) (string, error) {
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("use the %s that %s names: %w", s.Name, s.Env, err)
	}
	fmt.Fprintf(log, "%s: ready, as %s says: %s\n", s.Name, s.Env, path)
	return path, nil
}

type build struct {
	server   Server
	module   string // folder with the server's go.mod
	cache    string
	log      io.Writer // for several goroutines
	sayEvery time.Duration
}

func (b build) run(ctx context.Context) error {
	path := b.server.binary(b.cache)
	want, err := b.stamp()
	if err != nil {
		return err
	}
	if fresh(path, want) {
		b.say("ready: %s", path)
		return nil
	}
	release, err := b.lock(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer release()
	if fresh(path, want) { // built by whoever held the lock
		b.say("ready: %s", path)
		return nil
	}
	b.say("building %s from the Go module proxy, about %s on two idle cores the first time",
		path, b.server.BuildTime)
	start := time.Now()
	if err := b.compile(ctx, path); err != nil {
		return err
	}
	if err := os.WriteFile(path+".stamp", []byte(want), 0o600); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	b.say("built in %s: %s", time.Since(start).Round(time.Second), path)
	return nil
}

// compile builds under another name and renames at the end, so that a build that is cut off leaves
// nothing that looks complete.
func (b build) compile(ctx context.Context, path string) error {
	partial := path + ".partial"
	args := append(b.server.buildArgs(), "-o", partial, b.server.Package)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.module
	// A workspace or flags of the caller's must not change what is built.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	cmd.Stdout, cmd.Stderr = b.log, b.log
	// An interrupted go command ends its compilers; one that is killed leaves them behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptGrace
	if err := b.await(cmd); err != nil {
		_ = os.Remove(partial) // seldom there; the error says more
		if ctx.Err() != nil {
			err = ctx.Err() // the go command's own is "signal: interrupt"
		}
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return os.Rename(partial, path)
}

// await runs cmd and says now and then that it is still running.
func (b build) await(cmd *exec.Cmd) error {
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(b.sayEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			b.say("still building after %s", time.Since(start).Round(time.Second))
		}
	}
}

// stamp names everything that the binary is made from.
func (b build) stamp() (string, error) {
	h := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(b.module, name))
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	fmt.Fprintln(h, runtime.Version(), b.server.Package, b.server.buildArgs())
	return hex.EncodeToString(h.Sum(nil)), nil
}

func fresh(path, stamp string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	got, err := os.ReadFile(path + ".stamp")
	return err == nil && string(got) == stamp
}

func (b build) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%s %s: %s\n", b.server.Name, b.server.Version, fmt.Sprintf(format, args...))
}

// sharedLog lets the go command and this package write to one log at the same time.
type sharedLog struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *sharedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
