// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestUnaskedExit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode string
		code int
		text string
	}{
		"clean":  {"exit:0", 1, "exited with code 0"},
		"code":   {"exit:3", 3, "exited with code 3"},
		"signal": {"signal:15", 143, "was killed by SIGTERM"},
		"kill":   {"signal:9", 137, "was killed by SIGKILL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := supervise(t, tc.mode, nil)
			err := s.wait(t)
			var exit *ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("Run gave %v, want an ExitError", err)
			}
			if exit.ExitCode() != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got code %d and %q, want %d and %q", exit.ExitCode(), err, tc.code, tc.text)
			}
			if status := s.Status(); status.State != StateStopped || status.PID != 0 || status.LastExit == "" {
				t.Errorf("status is %+v", status)
			}
		})
	}
}

func TestRestartsUntilItStays(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s := supervise(t, "crash-first:3", func(c *Config) {
		c.MaxRestarts, c.MaxBackoff, c.Registerer = 5, 10*time.Millisecond, registry
	})
	pid := pidFrom(t, s.dir, "start.4")
	eventually(t, "status of the fourth start", func() bool { return s.PID() == pid })
	if got := s.Status().Restarts; got != 3 {
		t.Errorf("%d restarts, want 3", got)
	}
	const want = `
# HELP podplane_envoy_restarts_total Restarts of an Envoy that ended without being asked to.
# TYPE podplane_envoy_restarts_total counter
podplane_envoy_restarts_total 3
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "podplane_envoy_restarts_total"); err != nil {
		t.Error(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.wait(t); err != nil {
		t.Errorf("Run after Stop: %v", err)
	}
}

func TestRestartBudgetIsUsedUp(t *testing.T) {
	t.Parallel()
	s := supervise(t, "crash-first:100", func(c *Config) { c.MaxRestarts, c.MaxBackoff = 2, 10*time.Millisecond })
	var exit *ExitError
	if err := s.wait(t); !errors.As(err, &exit) || exit.Code != 7 || exit.Restarts != 2 {
		t.Errorf("Run gave %v, want code 7 after 2 restarts", err)
	}
	if starts, _ := filepath.Glob(filepath.Join(s.dir, "start.*")); len(starts) != 3 {
		t.Errorf("%d starts, want 3", len(starts))
	}
}

func TestKilledEnvoyIsBackAtOnce(t *testing.T) {
	t.Parallel()
	s := supervise(t, "block", func(c *Config) { c.MaxRestarts = 10 })
	fastest := time.Hour
	for range 5 {
		if err := s.WaitLive(t.Context()); err != nil {
			t.Fatal(err)
		}
		pid := s.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		eventually(t, "another PID", func() bool { p := s.PID(); return p != 0 && p != pid })
		fastest = min(fastest, time.Since(killed))
	}
	// 100 ms is the promise; the rest, and the other restarts, are for a busy machine
	// under the race detector. A pause before the restart would be in all of them.
	if fastest > time.Second {
		t.Errorf("the fastest restart took %s", fastest)
	}
	if got := s.Status(); got.Incarnation < 5 || got.Restarts != 5 {
		t.Errorf("status is %+v", got)
	}
}

// TestNoProcessIsNotLive looks at the status all the time while Envoys die: one
// that has no process is never live.
func TestNoProcessIsNotLive(t *testing.T) {
	t.Parallel()
	s := prepare(t, "block", func(c *Config) { c.MaxRestarts = 1000 })
	s.run(t, static("{}"))
	for range 50 {
		if err := s.WaitLive(t.Context()); err != nil {
			t.Fatal(err)
		}
		dying := s.Status().PID
		if err := syscall.Kill(dying, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for {
			st := s.Status()
			if st.Live() && st.PID == 0 {
				t.Fatalf("live without a process: %+v", st)
			}
			if st.PID != dying {
				break
			}
		}
	}
}

// losesExecutable gives a supervisor whose Envoy has been killed and cannot be
// started, and the way to change that.
func losesExecutable(t *testing.T, restarts int) (s *supervised, restore func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	restore = func() {
		if err := os.Symlink(os.Args[0], path); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	s = supervise(t, "block", func(c *Config) {
		c.Path, c.MaxRestarts, c.MaxBackoff = path, restarts, 10*time.Millisecond
	})
	if err := s.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return s, restore
}

func TestFailedStartIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, restore := losesExecutable(t, 1_000_000)
	eventually(t, "several failed starts", func() bool { return s.Status().Restarts >= 3 })
	if st := s.Status(); st.State != StateBackoff || st.PID != 0 {
		t.Errorf("status is %+v", st)
	}
	restore()
	if err := s.WaitLive(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFailedStartsUseUpTheBudget(t *testing.T) {
	t.Parallel()
	s, _ := losesExecutable(t, 3)
	if err := s.wait(t); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Run gave %v", err)
	}
	if got := s.Status().Restarts; got != 3 {
		t.Errorf("%d restarts, want 3", got)
	}
}

func TestStopWhileItCannotBeStarted(t *testing.T) {
	t.Parallel()
	s, _ := losesExecutable(t, 1_000_000)
	eventually(t, "a failed start", func() bool { return s.Status().Restarts >= 2 })
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.wait(t); err != nil {
		t.Errorf("Run after Stop: %v", err)
	}
}
