// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputGrace is how long the output of a dead Envoy is still read when something else holds its pipe open.
const outputGrace = 500 * time.Millisecond

// process is one Envoy from its start to its end.
type process struct {
	pid     int
	started time.Time
	done    chan struct{} // closed when the process is gone and reaped
	exit    *ExitError    // valid once done is closed

	mu     sync.Mutex
	reaped bool // the PID may belong to somebody else
}

// startProcess runs cmd in a process group of its own. It returns when the program has been executed, or with the error
// that kept it from that. The goroutine that waits for the child is joined by done.
//
// The kernel sends the parent-death signal when the *thread* that forked the child ends, not the process
// (https://go.dev/issue/27505). So one goroutine, locked to its thread, starts the child and lives as long as it. The
// signal is lost when the executable has file capabilities; there a container's PID namespace has to do the same, and
// does when podplane is PID 1.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = outputGrace
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid, p.started = cmd.Process.Pid, time.Now()
		started <- nil
		p.await(cmd)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	return p, nil
}

// await reaps the process when it has ended.
func (p *process) await(cmd *exec.Cmd) {
	defer close(p.done)
	// The zombie keeps the group's number from being used again, so what Envoy left behind is killed before it is reaped.
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = unix.Kill(-p.pid, unix.SIGKILL)
	p.reaped = true
	p.mu.Unlock()
	err := cmd.Wait()
	if cmd.ProcessState == nil {
		// Somebody else took the status; all that is known is that the process is gone.
		p.exit = &ExitError{Code: -1, Uptime: time.Since(p.started)}
		return
	}
	_ = err // the status says more than the error
	p.exit = newExitError(cmd.ProcessState, time.Since(p.started))
}

// signal sends sig to the whole group. A group that is gone is no error.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	if err := unix.Kill(-p.pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal envoy: %w", os.NewSyscallError("kill", err))
	}
	return nil
}

// endedWithin waits for the end of the process, at most d.
func (p *process) endedWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}
