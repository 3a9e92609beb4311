// SPDX-License-Identifier: MPL-2.0

package proc

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputGrace is how long the output of a process that has ended is still read
// when somebody outside of its group holds its pipe open.
const outputGrace = 2 * time.Second

// Spec says what to run.
type Spec struct {
	// Name is for messages.
	Name string
	// Args are the program and its arguments. Required.
	Args []string
	// Env is the whole environment; nil is an empty one. Nothing of the caller's is
	// passed on, because its variables would change what is tested.
	Env []string
	// Dir is the working folder; empty means the caller's.
	Dir string
	// LogFile is a file to which the output is appended too; empty means none. It is
	// made with mode 0600.
	LogFile string
	// Namespaces are those that the process gets of its own, as clone(2)'s flags CLONE_NEW….
	Namespaces uintptr
}

// Process is a running, or ended, process. Its methods may be called from several
// goroutines.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed when it has been waited for

	mu     sync.Mutex
	reaped bool // its number may belong to somebody else
}

// Start starts a process and returns when the program has been executed. The
// error says what could not be started and why.
func Start(s Spec) (*Process, error) {
	out, err := openOutput(s.LogFile)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &Process{name: s.Name, out: out, done: make(chan struct{})}
	p.cmd = exec.Command(s.Args[0], s.Args[1:]...) //nolint:noctx // it ends by signal
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Dir = s.Dir
	p.cmd.Env = append([]string{}, s.Env...) // exec takes nil for the caller's environment
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: s.Namespaces}
	p.cmd.WaitDelay = outputGrace
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return p, nil
}

// run starts the process and waits for its end, on a thread of its own: the kernel
// sends the parent-death signal when the thread that started the child ends, not
// the process (https://go.dev/issue/27505).
func (p *Process) run(started chan<- error) {
	defer close(p.done)
	defer p.out.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.reapGroup()
	_ = p.cmd.Wait() // ExitCode and Output tell
}

// reapGroup waits for the end of the process and kills what it left in its group.
// Until it is waited for, the dead process keeps the group's number from being
// given to another.
func (p *Process) reapGroup() {
	for {
		err := unix.Waitid(unix.P_PID, p.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Kill(-p.PID(), unix.SIGKILL) // an error means that nothing is left
	p.reaped = true
}

// PID is the process ID, and the ID of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether the process has not ended yet. A paused one runs.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode waits for the end of the process and gives its exit code, -1 if a
// signal ended it.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Output is what the process and its children have written to standard output and
// standard error: the last 256 KiB at least.
func (p *Process) Output() string { return p.out.String() }

// Tail is the end of [Process.Output], at most n bytes, from the start of a line.
func (p *Process) Tail(n int) string { return p.out.tail(n) }
