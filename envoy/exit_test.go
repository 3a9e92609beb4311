// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestOOMCounter(t *testing.T) {
	t.Parallel()
	const events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 9\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  uint64
	}{
		"own path":          {map[string]string{"cgroup": "0::/pod/app\n", "fs/pod/app/memory.events": events}, 2},
		"own namespace":     {map[string]string{"cgroup": "0::/\n", "fs/memory.events": events}, 2},
		"path of the host":  {map[string]string{"cgroup": "0::/host/pod\n", "fs/memory.events": events}, 2},
		"hybrid":            {map[string]string{"cgroup": "4:memory:/x\n0::/\n", "fs/memory.events": events}, 2},
		"version 1":         {map[string]string{"cgroup": "4:memory:/x\n"}, 0},
		"no file":           {map[string]string{"cgroup": "0::/\n"}, 0},
		"nothing of it":     {map[string]string{"cgroup": "0::/\n", "fs/memory.events": "low 0\n"}, 0},
		"not a number":      {map[string]string{"cgroup": "0::/\n", "fs/memory.events": "oom_kill x\n"}, 0},
		"no cgroups at all": {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, content := range tc.files {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c := oomCounter{cgroupFile: filepath.Join(dir, "cgroup"), root: filepath.Join(dir, "fs")}
			if got := c.kills(); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestExitError(t *testing.T) {
	t.Parallel()
	oom := &ExitError{Code: -1, Signal: syscall.SIGKILL, OOM: true, Uptime: 1500 * time.Millisecond, Restarts: 2}
	if got := oom.Error(); got != "envoy was killed for memory after 1.5s and 2 restarts" {
		t.Error(got)
	}
	if oom.ExitCode() != 137 || oom.label() != "oom" {
		t.Errorf("code %d, label %s", oom.ExitCode(), oom.label())
	}
	if got := signalName(99); got != "signal 99" {
		t.Error(got)
	}
}

func TestRestartBudget(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newRestartBudget(3, time.Minute, time.Second)
	for i := range 3 {
		if _, ok := b.next(now.Add(time.Duration(i)*time.Second), false); !ok {
			t.Fatalf("restart %d refused", i+1)
		}
	}
	if _, ok := b.next(now.Add(59*time.Second), false); ok {
		t.Error("a fourth restart within the window was granted")
	}
	if _, ok := b.next(now.Add(61*time.Second), false); !ok {
		t.Error("a restart after the window was refused")
	}
	if _, ok := newRestartBudget(0, time.Minute, time.Second).next(now, true); ok {
		t.Error("a restart was granted though there are none")
	}
}

func TestRestartPauses(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newRestartBudget(1000, time.Minute, 30*time.Second)
	limits := []int{50, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000}
	for i, ms := range limits {
		limit := time.Duration(ms) * time.Millisecond
		if got, _ := b.next(now, false); got < limit/2 || got > limit {
			t.Errorf("pause %d is %s, want %s to %s", i+1, got, limit/2, limit)
		}
	}
	for range 200 { // far beyond what a shift can take
		if got, _ := b.next(now, false); got <= 0 || got > 30*time.Second {
			t.Fatalf("pause is %s", got)
		}
	}
	if got, _ := b.next(now, true); got > firstPause {
		t.Errorf("pause after an Envoy that was LIVE is %s", got)
	}
}
