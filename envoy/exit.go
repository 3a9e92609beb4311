// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ExitError is an end of Envoy that nobody asked for.
type ExitError struct {
	// Code is the exit code, -1 when a signal ended the process.
	Code int
	// Signal is the signal that ended it, 0 when it exited by itself.
	Signal syscall.Signal
	// OOM tells that the kernel killed for want of memory in podplane's cgroup while this Envoy ran and died of SIGKILL.
	OOM bool
	// Uptime is how long it ran.
	Uptime time.Duration
	// Restarts is how many restarts within the window preceded it.
	Restarts int
}

// Error says how Envoy ended.
func (e *ExitError) Error() string {
	text := "envoy " + e.Cause()
	text += fmt.Sprintf(" after %s", e.Uptime.Round(time.Millisecond))
	if e.Restarts > 0 {
		text += fmt.Sprintf(" and %d restarts", e.Restarts)
	}
	return text
}

// Cause is the exit in a few words, without times.
func (e *ExitError) Cause() string {
	switch {
	case e.OOM:
		return "was killed for memory"
	case e.Signal != 0:
		return "was killed by " + signalName(e.Signal)
	default:
		return fmt.Sprintf("exited with code %d", e.Code)
	}
}

// ExitCode is the code for podplane to exit with: Envoy's own, 128+n for signal n as shells do it, and 1 for an Envoy
// that ended cleanly without being asked to.
func (e *ExitError) ExitCode() int {
	switch {
	case e.Signal != 0:
		return 128 + int(e.Signal)
	case e.Code > 0:
		return e.Code
	default:
		return 1
	}
}

// label is the exit as a label value of few kinds.
func (e *ExitError) label() string {
	switch {
	case e.OOM:
		return "oom"
	case e.Signal != 0:
		return "signal"
	case e.Code == 0:
		return "clean"
	default:
		return "code"
	}
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// newExitError reads the status of an ended process.
func newExitError(state *os.ProcessState, uptime time.Duration) *ExitError {
	e := &ExitError{Code: state.ExitCode(), Uptime: uptime}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	return e
}
