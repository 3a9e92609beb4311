// SPDX-License-Identifier: MPL-2.0

package proc

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signal sends a signal to the process alone, as a kubelet does: what becomes of
// its children is its own affair. A process that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error { return p.kill(p.PID(), sig) }

// Pause freezes the process and its group with SIGSTOP: connections stay open and
// nobody answers.
func (p *Process) Pause() error { return p.kill(-p.PID(), syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.kill(-p.PID(), syscall.SIGCONT) }

// Kill ends the process and its group with SIGKILL, paused or not, and waits for
// the end.
func (p *Process) Kill() {
	_ = p.kill(-p.PID(), syscall.SIGKILL) // the group is our own: an error means that it has ended
	<-p.done
}

// Stop asks the process to end with SIGTERM and waits for it. One that has not
// ended after the timeout is killed, which is an error.
func (p *Process) Stop(timeout time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.name, timeout)
	}
}

// kill sends a signal to a process, or with a negative number to a group, for as
// long as the number is known to be ours.
func (p *Process) kill(pid int, sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %v to %s: %w", sig, p.name, err)
	}
	return nil
}
