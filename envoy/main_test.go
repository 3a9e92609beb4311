// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary is its own child: with childEnv set it does what that says instead of testing. A child does no more
// of Envoy's than its test needs.
const (
	childEnv = "PODPLANE_TEST_CHILD"
	dirEnv   = "PODPLANE_TEST_DIR"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(childEnv); mode != "" {
		os.Exit(child(mode, os.Getenv(dirEnv)))
	}
	goleak.VerifyTestMain(m)
}

func child(mode, dir string) int {
	name, arg, _ := strings.Cut(mode, ":")
	switch name {
	case "exit":
		code, _ := strconv.Atoi(arg)
		return code
	case "record":
		return childRecord(dir)
	case "block":
		announce(dir, "pid")
		select {} // the default action of SIGTERM ends it
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		announce(dir, "pid")
		blockForever()
	case "signal":
		n, _ := strconv.Atoi(arg)
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		blockForever()
	case "crash-first":
		return childCrashFirst(dir, arg)
	case "family":
		return childFamily()
	case "admin":
		return childAdmin(dir, arg)
	case "supervisor":
		return childSupervisor(dir)
	case "subreaper":
		return childSubreaper()
	}
	return 99
}

func blockForever() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	<-signals
}

// announce writes the PID into a file, which appears with its content.
func announce(dir, name string) {
	put(dir, name, []byte(strconv.Itoa(os.Getpid())))
}

func put(dir, name string, content []byte) {
	tmp := filepath.Join(dir, name+".tmp")
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		panic(err)
	}
}

type record struct {
	Args      []string
	Bootstrap string
	Writable  bool
	Group     bool
}

// childRecord writes down how it was started.
func childRecord(dir string) int {
	r := record{Args: os.Args[1:], Group: unix.Getpgrp() == os.Getpid()}
	for i, a := range r.Args {
		if a == "--config-path" {
			content, err := os.ReadFile(r.Args[i+1])
			if err != nil {
				return 98
			}
			r.Bootstrap = string(content)
			_, err = unix.Write(bootstrapFD, []byte("x"))
			r.Writable = err == nil
		}
	}
	content, _ := json.Marshal(r)
	put(dir, "record", content)
	blockForever()
	return 0
}

// childCrashFirst exits with 7 the first n times and then blocks.
func childCrashFirst(dir, n string) int {
	limit, _ := strconv.Atoi(n)
	starts, _ := filepath.Glob(filepath.Join(dir, "start.*"))
	announce(dir, fmt.Sprintf("start.%d", len(starts)+1))
	if len(starts) < limit {
		return 7
	}
	select {}
}

// childFamily has a child in its group that ignores SIGTERM.
func childFamily() int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=stubborn")
	if err := cmd.Start(); err != nil {
		return 97
	}
	select {}
}

// childAdmin serves the admin API's /ready and /quitquitquit. With "deaf" it takes the quit and runs on; with "hung" it
// answers nothing.
func childAdmin(dir, how string) int {
	if how != "" {
		signal.Ignore(syscall.SIGTERM)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 95
	}
	put(dir, "address", []byte(listener.Addr().String()))
	http.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if how == "hung" {
			select {}
		}
		fmt.Fprintln(w, "LIVE")
	})
	http.HandleFunc("POST /quitquitquit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "OK")
		if how == "" {
			put(dir, "quit", nil)
			go os.Exit(0)
		}
	})
	announce(dir, "pid")
	_ = http.Serve(listener, nil)
	return 94
}

// childSupervisor supervises a stubborn child until it is killed itself.
func childSupervisor(dir string) int {
	s, err := New(Config{
		Path: os.Args[0],
		Env:  append(os.Environ(), childEnv+"=stubborn", dirEnv+"="+dir),
	}, nil)
	if err != nil {
		return 93
	}
	_ = s.Run(background(), static("{}"))
	return 0
}

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond) // a poll of another process, which nothing else tells of
	}
}

// pidFrom waits for a child to announce itself.
func pidFrom(t *testing.T, dir, name string) int {
	t.Helper()
	var content []byte
	eventually(t, "announcement "+name, func() bool {
		var err error
		content, err = os.ReadFile(filepath.Join(dir, name))
		return err == nil
	})
	pid, err := strconv.Atoi(string(content))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// running tells whether a process is there and not a zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	return !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}
