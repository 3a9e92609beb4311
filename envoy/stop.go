// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"errors"
	"syscall"
	"time"
)

const killSignal = syscall.SIGKILL

// Stop ends Envoy and returns when it is gone: the admin API's quit, then SIGTERM, then SIGKILL to the whole process
// group, each with its deadline from [Config]. At the end of ctx it skips to SIGKILL. It starts the end once: further
// calls wait for the same end, and their contexts hasten it as well. A supervisor that does not run is only kept from
// starting. The error is non-nil only when Envoy survives SIGKILL.
func (s *Supervisor) Stop(ctx context.Context) error {
	proc, first := s.markStopping()
	if proc == nil {
		return nil
	}
	if !first {
		return s.awaitEnd(ctx, proc)
	}
	if s.quit(ctx, proc) || s.term(ctx, proc) {
		return nil
	}
	return s.kill(proc)
}

// Kill ends Envoy at once, without asking, and does not wait. It may be called while Stop is under way.
func (s *Supervisor) Kill() {
	if proc, _ := s.markStopping(); proc != nil {
		if err := proc.signal(syscall.SIGKILL); err != nil {
			s.log.Error("envoy was not killed", "error", err)
		}
	}
}

// Done is closed when Run has returned.
func (s *Supervisor) Done() <-chan struct{} { return s.done }

// markStopping makes the end of Envoy an asked-for one. It gives the process that runs, nil when there is none, and
// tells whether this call was the first.
func (s *Supervisor) markStopping() (*process, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return s.proc, false
	}
	s.stopped = true
	close(s.stopping)
	if s.status.State != StateStopped {
		s.setState(StateStopping)
	}
	return s.proc, true
}

func (s *Supervisor) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// quit asks by the admin API and tells whether Envoy has ended within the deadline.
func (s *Supervisor) quit(ctx context.Context, proc *process) bool {
	if s.cfg.Admin == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QuitTimeout)
	defer cancel()
	if err := s.cfg.Admin.Quit(ctx); err != nil {
		s.log.Warn("envoy did not take the quit, sending SIGTERM", "error", err)
		return false
	}
	if ended(ctx, proc) {
		return true
	}
	s.log.Warn("envoy runs on after the quit, sending SIGTERM", "pid", proc.pid)
	return false
}

// term sends SIGTERM and tells whether Envoy has ended within the deadline.
func (s *Supervisor) term(ctx context.Context, proc *process) bool {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TermTimeout)
	defer cancel()
	if err := proc.signal(syscall.SIGTERM); err != nil {
		s.log.Warn("envoy was not signalled", "error", err)
		return false
	}
	return ended(ctx, proc)
}

// kill sends SIGKILL and waits for the end. Only a process that hangs inside the kernel survives.
func (s *Supervisor) kill(proc *process) error {
	s.log.Warn("envoy does not end, sending SIGKILL", "pid", proc.pid)
	if err := proc.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !proc.endedWithin(s.cfg.KillTimeout) {
		return errors.New("envoy survives SIGKILL")
	}
	return nil
}

// awaitExit waits for the end of the process, and brings it about at the end of ctx. The error is non-nil when the
// process cannot be ended; nobody waits for it then.
func (s *Supervisor) awaitExit(ctx context.Context, proc *process) error {
	select {
	case <-proc.done:
		return nil
	case <-ctx.Done():
		// The context ends when another part of podplane has ended. There is nothing to be gentle for.
		s.markStopping()
		return s.terminate(ctx, proc)
	}
}

// terminate ends an Envoy that nobody waits for any more: SIGTERM, then SIGKILL.
func (s *Supervisor) terminate(ctx context.Context, proc *process) error {
	// The context of Run is over when this is called; term has a deadline of its own.
	if s.term(context.WithoutCancel(ctx), proc) {
		return nil
	}
	return s.kill(proc)
}

// awaitEnd waits for an end that somebody else has started.
func (s *Supervisor) awaitEnd(ctx context.Context, proc *process) error {
	bound := s.cfg.QuitTimeout + s.cfg.TermTimeout
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if ended(ctx, proc) {
		return nil
	}
	return s.kill(proc)
}

// ended waits for the end of the process as long as ctx allows.
func ended(ctx context.Context, proc *process) bool {
	select {
	case <-proc.done:
		return true
	default:
	}
	select {
	case <-proc.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// untilStop is how long a stop can take at most.
func (c Config) untilStop() time.Duration { return c.QuitTimeout + c.TermTimeout + c.KillTimeout }

// StopTimeout is how long [Supervisor.Stop] can take at most.
func (s *Supervisor) StopTimeout() time.Duration { return s.cfg.untilStop() }
