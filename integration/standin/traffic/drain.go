// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"math/rand/v2"
	"sync"
	"time"
)

// DrainState says how far a drain is.
type DrainState int

// The states of draining.
const (
	DrainNone     DrainState = iota // not draining
	DrainSequence                   // graceful: clients are told to leave, still accepting
	DrainStopped                    // listeners have stopped accepting
)

// drainer is the server's drain, as started by /drain_listeners, and the failed health check.
// Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/draining
type drainer struct {
	time     time.Duration
	strategy string

	mu          sync.Mutex
	state       DrainState
	begun       time.Time
	inboundOnly bool
	failed      bool // /healthcheck/fail
	timer       *time.Timer
}

// covers says whether a drain, under way or over, is about listeners of this direction.
func (d *drainer) covers(inbound bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state != DrainNone && (inbound || !d.inboundOnly)
}

// leaving says whether the next response on a connection of this direction should tell its client to go. With the
// gradual strategy that is more and more likely over the drain time.
func (d *drainer) leaving(inbound bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed {
		return true
	}
	if d.begun.IsZero() || (d.inboundOnly && !inbound) {
		return false
	}
	if d.strategy == DrainImmediate || d.time <= 0 {
		return true
	}
	return time.Since(d.begun) >= time.Duration(rand.Int64N(int64(d.time)))
}

// begin notes the start of a drain sequence. It reports false if one is under way already; a drain of all listeners
// takes one of the inbound ones over.
func (d *drainer) begin(inboundOnly bool, done func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state == DrainStopped || (d.state == DrainSequence && (inboundOnly || !d.inboundOnly)) {
		return false
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	d.state, d.inboundOnly, d.begun = DrainSequence, inboundOnly, time.Now()
	d.timer = time.AfterFunc(d.time, done)
	return true
}

// stop notes that accepting has ended.
func (d *drainer) stop(inboundOnly bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state == DrainNone || !inboundOnly {
		d.inboundOnly = inboundOnly
	}
	d.state = DrainStopped
}

func (d *drainer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
}

// DrainListeners drains the listeners, those with traffic_direction INBOUND alone or all. Graceful tells clients to
// leave during the drain time and stops accepting at its end; otherwise accepting stops at once.
func (e *Engine) DrainListeners(inboundOnly, graceful bool) {
	if !graceful {
		e.stopListeners(inboundOnly)
		return
	}
	e.beginDrain(inboundOnly, func() { e.stopListeners(inboundOnly) })
}

// DrainClients is a graceful drain whose end leaves the listeners accepting, which is what skip_exit makes of
// /drain_listeners?graceful.
func (e *Engine) DrainClients(inboundOnly bool) { e.beginDrain(inboundOnly, func() {}) }

func (e *Engine) beginDrain(inboundOnly bool, done func()) {
	if !e.drain.begin(inboundOnly, done) {
		return
	}
	e.log.Info("drain sequence started", "inbound_only", inboundOnly, "drain_time", e.cfg.DrainTime)
	closeIdle := !e.cfg.KeepIdleOnDrain && e.cfg.DrainStrategy == DrainImmediate
	e.eachDrained(inboundOnly, func(l *listener) { l.leave(closeIdle) })
}

// eachDrained calls f for the listeners that a drain is about.
func (e *Engine) eachDrained(inboundOnly bool, f func(*listener)) {
	e.listeners.each(func(l *listener) {
		if l.shared.inbound || !inboundOnly {
			f(l)
		}
	})
}

func (l *listener) leave(closeIdle bool) {
	for _, c := range l.all() {
		c.terminal.leave(closeIdle)
	}
}

// stopListeners ends accepting. It does not touch a connection, as Envoy does not.
func (e *Engine) stopListeners(inboundOnly bool) {
	e.drain.stop(inboundOnly)
	e.listeners.mu.Lock()
	e.listeners.stopped = true
	e.listeners.mu.Unlock()
	e.eachDrained(inboundOnly, func(l *listener) { l.port.stop() })
	e.log.Info("listeners stopped", "inbound_only", inboundOnly)
}

// DrainState returns the state of the drain that DrainListeners started.
func (e *Engine) DrainState() DrainState {
	e.drain.mu.Lock()
	defer e.drain.mu.Unlock()
	return e.drain.state
}

// HealthcheckFail sets or lifts the failed state of /healthcheck/fail, during which HTTP clients are told to leave.
func (e *Engine) HealthcheckFail(failed bool) {
	e.drain.mu.Lock()
	defer e.drain.mu.Unlock()
	e.drain.failed = failed
}
