// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// short makes the steps of a stop short, so that a test of all of them is.
func short(c *Config) {
	c.QuitTimeout, c.TermTimeout, c.KillTimeout = 100*time.Millisecond, 100*time.Millisecond, time.Minute
}

func TestStop(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode string
		quit bool // ended by the quit
	}{
		"quit":                     {"admin", true},
		"no admin, TERM is enough": {"block", false},
		"TERM ignored":             {"stubborn", false},
		"quit and TERM ignored":    {"admin:deaf", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := supervise(t, tc.mode, func(c *Config) {
				if short(c); tc.quit {
					c.QuitTimeout = time.Minute
				}
			})
			pid := pidFrom(t, s.dir, "pid")
			if err := s.WaitLive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if running(pid) {
				t.Error("envoy runs after Stop")
			}
			if err := s.wait(t); err != nil {
				t.Errorf("Run: %v", err)
			}
			_, err := os.Stat(filepath.Join(s.dir, "quit"))
			if quit := err == nil; quit != tc.quit {
				t.Errorf("ended by quit: %t, want %t", quit, tc.quit)
			}
		})
	}
}

func TestStopOfEnvoyThatStandsStill(t *testing.T) {
	t.Parallel()
	s := supervise(t, "admin", short)
	pid := pidFrom(t, s.dir, "pid")
	if err := s.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if running(pid) {
		t.Error("envoy runs after Stop")
	}
}

func TestStopOfEnvoyWhoseAdminHangs(t *testing.T) {
	t.Parallel()
	s := supervise(t, "admin:hung", short)
	pid := pidFrom(t, s.dir, "pid")
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if running(pid) {
		t.Error("envoy runs after Stop")
	}
}

func TestStopTogether(t *testing.T) {
	t.Parallel()
	s := supervise(t, "stubborn", short)
	pid := pidFrom(t, s.dir, "pid")
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if running(pid) {
				t.Error("envoy runs after Stop")
			}
		})
	}
	callers.Wait()
}

func TestStopHurries(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*supervised){
		"by a context that is over": func(s *supervised) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.Stop(ctx)
		},
		"by a second caller": func(s *supervised) {
			var first sync.WaitGroup
			first.Go(func() { _ = s.Stop(context.Background()) })
			<-s.stopping
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.Stop(ctx)
			first.Wait()
		},
		"by Kill": func(s *supervised) { s.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := supervise(t, "stubborn", func(c *Config) {
				c.TermTimeout, c.QuitTimeout, c.KillTimeout = time.Hour, time.Hour, time.Minute
			})
			pid := pidFrom(t, s.dir, "pid")
			end(s)
			if err := s.wait(t); err != nil {
				t.Errorf("Run: %v", err)
			}
			if running(pid) {
				t.Error("envoy runs")
			}
		})
	}
}

func TestContextEndsEnvoy(t *testing.T) {
	t.Parallel()
	s := supervise(t, "stubborn", short)
	pid := pidFrom(t, s.dir, "pid")
	s.cancel()
	if err := s.wait(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if running(pid) {
		t.Error("envoy runs after the context's end")
	}
}

func TestNothingOfTheGroupIsLeft(t *testing.T) {
	t.Parallel()
	s := supervise(t, "family", short)
	grandchild := pidFrom(t, s.dir, "pid")
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	eventually(t, "the end of the grandchild", func() bool { return !running(grandchild) })
}

func TestCrashTakesTheGroupAlong(t *testing.T) {
	t.Parallel()
	s := supervise(t, "family", nil)
	grandchild := pidFrom(t, s.dir, "pid")
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t); err == nil {
		t.Error("Run gave no error after a crash")
	}
	eventually(t, "the end of the grandchild", func() bool { return !running(grandchild) })
}

func TestEnvoyDoesNotOutliveAKilledParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), childEnv+"=supervisor", dirEnv+"="+dir)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := pidFrom(t, dir, "pid")
	if !running(pid) {
		t.Fatal("envoy does not run")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	eventually(t, "the end of envoy", func() bool { return !running(pid) })
}

func TestStopTimeoutIsBelowTwoSeconds(t *testing.T) {
	t.Parallel()
	if got := (Config{}).withDefaults().untilStop(); got >= 2*time.Second {
		t.Errorf("a stop can take %s", got)
	}
}

func TestSupervisorSpeaksForItsEnvoy(t *testing.T) {
	t.Parallel()
	fake := newAdminServer(t, 200, "http.in.downstream_rq_active: 2\n")
	s := prepare(t, "block", func(c *Config) { c.Admin = fake.Admin })
	if n, err := s.InFlight(t.Context()); n != 0 || err != nil {
		t.Errorf("in flight before the start: %d (%v)", n, err)
	}
	if err := s.DrainInbound(t.Context()); err == nil {
		t.Error("a drain was taken before the start")
	}
	s.run(t, static("{}"))
	pidFrom(t, s.dir, "pid")
	if n, err := s.InFlight(t.Context()); n != 2 || err != nil {
		t.Errorf("in flight: %d (%v), want 2", n, err)
	}
	if err := s.DrainInbound(t.Context()); err != nil {
		t.Error(err)
	}
	if got := s.Incarnation(); got != 0 { // the fake's /ready says no state
		t.Errorf("incarnation is %d before LIVE", got)
	}
}

func TestSupervisorWithoutAdmin(t *testing.T) {
	t.Parallel()
	s := supervise(t, "block", nil)
	if err := s.WaitLive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.InFlight(t.Context()); err == nil {
		t.Error("what is in flight was told by nobody")
	}
	if got := s.StopTimeout(); got <= 0 || got >= 2*time.Second {
		t.Errorf("a stop can take %s", got)
	}
}

func TestAlive(t *testing.T) {
	t.Parallel()
	s := prepare(t, "block", nil)
	if err := s.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Alive(ctx); err == nil {
		t.Error("a supervisor that is stuck is alive")
	}
	s.mu.Unlock()
}

// TestEnvoyThatSurvivesSIGKILL has a process that is never seen to end, as one that hangs inside the kernel.
func TestEnvoyThatSurvivesSIGKILL(t *testing.T) {
	t.Parallel()
	s := prepare(t, "block", nil)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := s.awaitExit(ctx, &process{done: make(chan struct{}), reaped: true})
		if err == nil || !strings.Contains(err.Error(), "survives SIGKILL") {
			t.Errorf("awaitExit gave %v", err)
		}
		if took := time.Since(began); took > s.StopTimeout() {
			t.Errorf("it took %s", took)
		}
	})
}
