// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"errors"
	"time"
)

// aliveRetry is the pause between two tries to look at a supervisor that is busy.
const aliveRetry = 5 * time.Millisecond

// errNoAdmin is why nothing can be asked of Envoy.
var errNoAdmin = errors.New("no envoy to ask")

// ProcessState is where the supervised Envoy is in its life.
type ProcessState string

// The states of a supervised Envoy.
const (
	StateIdle     ProcessState = "idle"     // not started yet
	StateStarting ProcessState = "starting" // running, not LIVE yet
	StateLive     ProcessState = "live"     // running, and has been LIVE
	StateBackoff  ProcessState = "backoff"  // crashed, waits for its restart
	StateStopping ProcessState = "stopping" // asked to end
	StateStopped  ProcessState = "stopped"  // gone for good
)

// Status is a snapshot of the supervision.
type Status struct {
	State ProcessState `json:"state"`
	// PID is 0 while no Envoy runs.
	PID int `json:"pid,omitempty"`
	// Since is the time of the last change of State.
	Since time.Time `json:"since"`
	// Started is when the Envoy that runs, or ran last, was started.
	Started time.Time `json:"started,omitzero"`
	// Restarts counts all restarts since podplane's start.
	Restarts int `json:"restarts"`
	// Incarnation counts the Envoys that have become LIVE. 0 means that no traffic can have passed yet.
	Incarnation int `json:"incarnation"`
	// LastExit says how the last crash went; empty when there was none.
	LastExit string `json:"last_exit,omitempty"`
	// LastExitAt is when that was.
	LastExitAt time.Time `json:"last_exit_at,omitzero"`
}

// PID is the process ID of the Envoy that runs, 0 while none does. It blocks for the instant in which one is being
// started, so that a connection from a new Envoy can never be judged by the PID of the old one.
func (s *Supervisor) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.PID
}

// Status is a snapshot for people and tools.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Incarnation is [Status.Incarnation].
func (s *Supervisor) Incarnation() int { return s.Status().Incarnation }

// DrainInbound is [Admin.DrainInbound] of the Envoy that runs.
func (s *Supervisor) DrainInbound(ctx context.Context) error {
	if s.cfg.Admin == nil || s.PID() == 0 {
		return errNoAdmin
	}
	return s.cfg.Admin.DrainInbound(ctx)
}

// RefuseInbound is [Admin.RefuseInbound] of the Envoy that runs.
func (s *Supervisor) RefuseInbound(ctx context.Context) error {
	if s.cfg.Admin == nil || s.PID() == 0 {
		return errNoAdmin
	}
	return s.cfg.Admin.RefuseInbound(ctx)
}

// InFlight is [Activity.InFlight] of the Envoy that runs, and 0 while none does: what a dead Envoy had in flight is lost
// already.
func (s *Supervisor) InFlight(ctx context.Context) (int, error) {
	if s.PID() == 0 {
		return 0, nil
	}
	if s.cfg.Admin == nil {
		return 0, errNoAdmin
	}
	activity, err := s.cfg.Admin.Activity(ctx)
	return activity.InFlight(), err
}

// Alive tells whether the supervision still moves: nil, or an error at the end of ctx when it hangs, for instance in the
// start of a process.
func (s *Supervisor) Alive(ctx context.Context) error {
	again := time.NewTicker(aliveRetry)
	defer again.Stop()
	for !s.mu.TryLock() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return errors.New("envoy supervisor is stuck")
		}
	}
	s.mu.Unlock()
	return nil
}

// setState changes the state. The caller holds mu.
func (s *Supervisor) setState(state ProcessState) {
	if s.status.State == state {
		return
	}
	s.status.State, s.status.Since = state, time.Now()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed is closed at the next change of [Status.State]. Take it before reading the status, so that no change is lost.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Live tells whether an Envoy runs that has been LIVE.
func (s Status) Live() bool { return s.State == StateLive }
