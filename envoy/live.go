// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"time"
)

// livePollSlow is the pause between looks at an Envoy that has not become LIVE for longer than livePollPatience. Such
// an Envoy waits for Consul, and that can be hours.
const (
	livePollSlow     = time.Second
	livePollPatience = time.Minute
)

// watchLive looks at Envoy's state until it is LIVE or has ended, and tells which.
func (s *Supervisor) watchLive(ctx context.Context, proc *process) bool {
	pause := s.cfg.LivePoll
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-proc.done:
			return false
		case <-ctx.Done():
			return false
		}
		if s.cfg.Admin == nil || s.admits(ctx) {
			return s.becameLive(proc)
		}
		if time.Since(proc.started) > livePollPatience {
			pause = max(pause, livePollSlow)
		}
		timer.Reset(pause)
	}
}

// admits tells whether the admin API says LIVE.
func (s *Supervisor) admits(ctx context.Context) bool {
	state, err := s.cfg.Admin.State(ctx)
	return err == nil && state == Live
}

// becameLive records that proc is LIVE, unless it has ended meanwhile.
func (s *Supervisor) becameLive(proc *process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != proc {
		return false
	}
	took := time.Since(proc.started)
	s.status.Incarnation++
	s.metrics.liveSeconds.Set(took.Seconds())
	if !s.stopped {
		s.setState(StateLive)
	}
	s.log.Info("envoy is live", "pid", proc.pid, "after", took.Round(time.Millisecond))
	return true
}

// WaitLive waits until the Envoy that runs is LIVE. The error is the context's, or [ErrStopped] when Envoy is ending
// or has ended for good.
func (s *Supervisor) WaitLive(ctx context.Context) error {
	for {
		changed := s.Changed()
		switch s.Status().State {
		case StateLive:
			return nil
		case StateStopping, StateStopped:
			return ErrStopped
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
