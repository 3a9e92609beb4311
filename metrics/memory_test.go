// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// childEnv has the URLs of Envoy and the application for serveChild.
const childEnv = "PODPLANE_TEST_METRICS_SOURCES"

// serveChild is this test binary as a process that does nothing but serve, so
// that its memory is the Server's. It ends when its parent closes its input.
func serveChild(sources string) error {
	envoy, application, _ := strings.Cut(sources, " ")
	s, err := New(Config{Addr: "127.0.0.1:0", EnvoyURL: envoy, ApplicationURLs: []string{application}}, nil)
	if err != nil {
		return err
	}
	fmt.Println(s.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return s.Run(ctx)
}

// memory returns a line of /proc/PID/status in MiB: VmRSS, or VmHWM, its peak.
func memory(t *testing.T, pid int, key string) float64 {
	t.Helper()
	return mebibytes(t, fmt.Sprintf("/proc/%d/status", pid), key)
}

// lazyFree returns the part of VmRSS that the kernel may take at any time, in
// MiB. See proc_pid_smaps(5).
func lazyFree(t *testing.T, pid int) float64 {
	t.Helper()
	return mebibytes(t, fmt.Sprintf("/proc/%d/smaps_rollup", pid), "LazyFree")
}

func mebibytes(t *testing.T, file, key string) float64 {
	t.Helper()
	status, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatalf("no %s", key)
	return 0
}

// TestMemory holds that a scrape of 17 MB takes at most 24 MiB above what a
// process that serves small ones has, that
// many at once take no more than MaxInFlight of them, and that it is all given
// back, or the kernel's to take.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the memory of the process")
	}
	application, envoy := pod()
	var large atomic.Bool
	sized := func(body []byte) string {
		small := body[:bytes.LastIndexByte(body[:4096], '\n')+1]
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if large.Load() {
				_, _ = w.Write(body)
			} else {
				_, _ = w.Write(small)
			}
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+sized(envoy)+" "+sized(application))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + strings.TrimSpace(addr) + Path
	pid := cmd.Process.Pid
	for range 50 {
		get(t, url)
	}
	idle := memory(t, pid, "VmRSS")
	large.Store(true)
	get(t, url)
	one := memory(t, pid, "VmHWM") - idle
	for range 5 {
		get(t, url)
	}
	several := memory(t, pid, "VmHWM") - idle
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { get(t, url) })
	}
	wg.Wait()
	atOnce := memory(t, pid, "VmHWM") - idle
	lazy := lazyFree(t, pid)
	after := memory(t, pid, "VmRSS") - idle - lazy
	t.Logf("idle %.1f MiB; above it: one scrape %.1f, several %.1f, ten at once %.1f, afterwards %.1f and %.1f kept for the next, which the kernel may take",
		idle, one, several, atOnce, after, lazy)
	if one > 24 || several > 24 || atOnce > 24*DefaultMaxInFlight || after > 16 {
		t.Errorf("too much memory")
	}
}
