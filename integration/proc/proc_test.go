// SPDX-License-Identifier: MPL-2.0

package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		makeOrphan()
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what is waited for.
const patience = 30 * time.Second

// sh starts a shell script, which is killed at the test's end at the latest.
func sh(t *testing.T, script string, change ...func(*Spec)) *Process {
	t.Helper()
	s := Spec{Name: "script", Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")}}
	for _, f := range change {
		f(&s)
	}
	p, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

// state is the letter that /proc has for a process: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html.
// It is empty for one that is not there.
func state(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return rest[:1]
}

// gone tells whether a process is no more. A zombie is as dead as it gets where nobody reaps orphans.
func gone(pid int) bool { return state(pid) == "" || state(pid) == "Z" }

func TestExitCodeAndOutput(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script string
		code   int
		output string
	}{
		"success":           {script: "echo out; echo err >&2", code: 0, output: "out\nerr\n"},
		"failure":           {script: "echo no; exit 7", code: 7, output: "no\n"},
		"ended by signal":   {script: "kill -9 $$", code: -1},
		"own environment":   {script: "env | sort | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=", output: "PATH=" + os.Getenv("PATH") + "\n"},
		"leader of a group": {script: "read -r _ _ _ _ group _ </proc/$$/stat; test $$ = $group"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sh(t, tt.script)
			if code := p.ExitCode(); code != tt.code || p.Output() != tt.output {
				t.Errorf("code %d, output %q; want %d, %q", code, p.Output(), tt.code, tt.output)
			}
			if p.Running() {
				t.Error("it runs although it has ended")
			}
		})
	}
}

func TestNilEnvironmentIsEmpty(t *testing.T) {
	t.Setenv("PROC_TEST_CALLER", "seen")
	p := sh(t, "echo \"[$PROC_TEST_CALLER]\"", func(s *Spec) { s.Env = nil })
	if p.ExitCode() != 0 || p.Output() != "[]\n" {
		t.Errorf("code %d, output %q; the caller's environment shows", p.ExitCode(), p.Output())
	}
}

func TestWorkingFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := sh(t, "pwd -P", func(s *Spec) { s.Dir = dir })
	<-p.Done()
	if got := strings.TrimSpace(p.Output()); got != dir {
		t.Errorf("ran in %q, want %q", got, dir)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := map[string]struct {
		spec Spec
		want error
	}{
		"no such program":     {Spec{Args: []string{filepath.Join(dir, "absent")}}, fs.ErrNotExist},
		"not executable":      {Spec{Args: []string{"/dev/null"}}, fs.ErrPermission},
		"log file in nowhere": {Spec{Args: []string{"/bin/true"}, LogFile: filepath.Join(dir, "absent", "log")}, fs.ErrNotExist},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.spec.Name = "the patient"
			p, err := Start(tt.spec)
			if err == nil {
				p.Kill()
			}
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), "start the patient") {
				t.Errorf("got %v, want %v and the name", err, tt.want)
			}
		})
	}
}

func TestLogFileIsAppendedTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	for range 2 {
		p := sh(t, "echo line", func(s *Spec) { s.LogFile = path })
		<-p.Done()
		if p.Output() != "line\n" {
			t.Errorf("output in memory: %q", p.Output())
		}
	}
	if data, err := os.ReadFile(path); string(data) != "line\nline\n" || err != nil {
		t.Errorf("log file: %q, %v; want the lines of both starts", data, err)
	}
}

func TestChildrenEndWithTheirLeader(t *testing.T) {
	t.Parallel()
	p := sh(t, "sleep 1000 & echo $!")
	<-p.Done()
	child, err := strconv.Atoi(strings.TrimSpace(p.Output()))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child is gone", func() bool { return gone(child) })
}

func TestSignalReachesTheProcessAlone(t *testing.T) {
	t.Parallel()
	p := sh(t, `trap "echo leader; exit 3" TERM; (trap "echo child" TERM; echo ready; while :; do sleep 0.01; done) & wait`)
	eventually(t, "the child is ready", func() bool { return p.Output() == "ready\n" })
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(); code != 3 || strings.Contains(p.Output(), "child") {
		t.Errorf("code %d, output %q; want 3, and only the leader's word", code, p.Output())
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal to a process that has ended: %v", err)
	}
}

func TestUnknownSignal(t *testing.T) {
	t.Parallel()
	p := sh(t, "sleep 1000")
	if err := p.Signal(1000); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "script") {
		t.Errorf("got %v, want EINVAL and the name", err)
	}
	if err := p.Stop(patience); err != nil {
		t.Error(err)
	}
}

func TestPauseFreezesTheGroup(t *testing.T) {
	t.Parallel()
	p := sh(t, "sleep 1000 & echo $!; wait")
	eventually(t, "the child has a number", func() bool { return p.Output() != "" })
	child, err := strconv.Atoi(strings.TrimSpace(p.Output()))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{p.PID(), child} {
		eventually(t, "it is stopped", func() bool { return state(pid) == "T" })
	}
	if !p.Running() {
		t.Error("a paused process counts as ended")
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{p.PID(), child} {
		eventually(t, "it goes on", func() bool { return state(pid) == "S" })
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	p.Kill() // a paused one too
	if p.ExitCode() != -1 {
		t.Errorf("exit code %d of a killed process", p.ExitCode())
	}
	eventually(t, "the child is gone", func() bool { return gone(child) })
}

func TestStop(t *testing.T) {
	t.Parallel()
	obeys := sh(t, "sleep 1000")
	if err := obeys.Stop(patience); err != nil {
		t.Error(err)
	}
	ignores := sh(t, `trap "" TERM; echo deaf; while :; do sleep 1000; done`)
	eventually(t, "it ignores SIGTERM", func() bool { return ignores.Output() == "deaf\n" })
	if err := ignores.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "script did not end") {
		t.Errorf("got %v, want an error that names the process", err)
	}
	if ignores.Running() {
		t.Error("it still runs")
	}
	if err := ignores.Stop(patience); err != nil {
		t.Errorf("stop of one that has ended: %v", err)
	}
}
