// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childSubreaper is handed an orphan and has a child of its own that dies at the same time. The reaper must take the
// first and leave the second to os/exec, which waits late.
func childSubreaper() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 80
	}
	reaper := NewReaper(nil)
	if reaper.pid1 {
		return 81
	}
	reaper.pid1, reaper.age = true, 3*time.Second // below: the time between a death and its Wait
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- reaper.Run(ctx) }()

	own := exec.Command("sh", "-c", "exit 5")
	if err := own.Start(); err != nil {
		return 82
	}
	// The shell's background process is orphaned when the shell ends.
	out, err := exec.Command("sh", "-c", "sleep 0.1 >/dev/null & echo $!").Output()
	if err != nil {
		return 83
	}
	var exit *exec.ExitError
	if err := own.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 5 {
		fmt.Fprintln(os.Stderr, "own child:", err)
		return 84
	}
	orphan := "/proc/" + strings.TrimSpace(string(out))
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := os.Stat(orphan); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			return 85
		}
		time.Sleep(5 * time.Millisecond) // a poll of another process
	}
	cancel()
	if err := <-ended; err != nil {
		return 86
	}
	return 0
}

func TestReaper(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=subreaper")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReaperLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewReaper(nil).Run(ctx); err != nil {
		t.Error(err)
	}
	absent := &Reaper{log: NewReaper(nil).log, proc: "/nowhere"}
	if got := absent.zombies(); got != nil {
		t.Errorf("zombies without procfs: %v", got)
	}
}

func TestDeadChild(t *testing.T) {
	t.Parallel()
	const rest = " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 4711 0 0"
	for name, tc := range map[string]struct {
		stat, start string
		ok          bool
	}{
		"zombie":           {"12 (sh) Z 1" + rest, "4711", true},
		"alive":            {"12 (sh) S 1" + rest, "", false},
		"of somebody else": {"12 (sh) Z 7" + rest, "", false},
		"hostile name":     {"12 (a) Z 1 (b) Z 1" + rest, "4711", true},
		"name that lies":   {"12 (x) Z 1) S 1" + rest, "", false},
		"short":            {"12 (sh) Z 1", "", false},
		"empty":            {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start, ok := deadChild([]byte(tc.stat), 1)
			if start != tc.start || ok != tc.ok {
				t.Errorf("got %q, %t; want %q, %t", start, ok, tc.start, tc.ok)
			}
		})
	}
}
