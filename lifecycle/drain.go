// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// idleLooks is how many looks in a row must find nothing in flight. One is not enough: a request can be on its way
// between two gauges, or in a connection that was accepted a moment ago.
const idleLooks = 2

// Run waits for a request to shut down, carries it out, and returns nil when the proxy is gone. At the end of ctx it
// returns nil as well, without ending the proxy: whoever ends the context ends the proxy, too. The error is non-nil
// when the proxy could not be ended.
func (d *Drainer) Run(ctx context.Context) error {
	defer close(d.done)
	defer d.markLooked()
	select {
	case <-d.asked:
	case <-ctx.Done():
		return nil
	}
	finishDump := d.startDump(ctx)
	d.drain(ctx)
	d.markLooked()
	finishDump()
	if ctx.Err() != nil {
		return nil
	}
	return d.stop(ctx)
}

// startDump runs the dump beside the drain. The function that it gives cancels a dump that has outlived the deadline or
// is in a hurry's way, and joins it, or leaves it behind when it does not mind.
func (d *Drainer) startDump(ctx context.Context) (finish func()) {
	if d.cfg.Dump == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if err := d.cfg.Dump(ctx); err != nil {
			d.failed("dump", err)
		}
	}()
	return func() {
		defer cancel()
		// An idle proxy is gone long before its grace period, and a dump is worth a moment even without one.
		patience := time.NewTimer(max(time.Until(d.State().Deadline), d.cfg.StopTimeout/2))
		defer patience.Stop()
		select {
		case <-finished:
		case <-patience.C:
		case <-d.hurry:
		case <-ctx.Done():
		}
		cancel()
		d.joinDump(finished)
	}
}

// joinDump waits for a cancelled dump, but not for ever: nothing interrupts a write into a pipe that is full because
// nobody reads it, and the proxy is to be ended all the same. Such a dump lives until podplane exits.
func (d *Drainer) joinDump(finished <-chan struct{}) {
	patience := time.NewTimer(d.cfg.StopTimeout / 4)
	defer patience.Stop()
	select {
	case <-finished:
	case <-d.hurry:
	case <-patience.C:
		d.failed("dump", errors.New("it cannot be cancelled and is left behind"))
	}
}

// drain waits until the shutdown may go on to end the proxy.
func (d *Drainer) drain(ctx context.Context) {
	deadline := d.State().Deadline
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	// The looks below are joined before this returns: hurry must not wait for a proxy that hangs.
	var hurrying sync.WaitGroup
	defer hurrying.Wait()
	hurrying.Go(func() {
		select {
		case <-d.hurry:
			cancel()
		case <-ctx.Done():
		}
	})
	defer cancel()

	tick := time.NewTicker(d.cfg.Poll)
	defer tick.Stop()
	var inbound inboundDrain
	idle := 0
	for {
		incarnation := d.cfg.Proxy.Incarnation()
		if ctx.Err() != nil || incarnation == 0 {
			return
		}
		if d.cfg.DrainInbound {
			d.drainInbound(ctx, incarnation, &inbound)
		}
		if d.look(ctx) {
			idle++
		} else {
			idle = 0
		}
		if idle >= idleLooks && d.State().WhenIdle {
			d.log.Info("nothing is in flight, the shutdown goes on")
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// inboundDrain is how far the drain of inbound traffic is: the incarnations of the proxy that have taken each step. A
// proxy that has been restarted meanwhile knows of none.
type inboundDrain struct{ drained, refused int }

// drainInbound takes the steps that are due and have not been taken by this incarnation of the proxy.
func (d *Drainer) drainInbound(ctx context.Context, incarnation int, done *inboundDrain) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if done.drained != incarnation {
		if err := d.cfg.Proxy.DrainInbound(ctx); err != nil {
			d.failed("drain inbound listeners", err)
			return
		}
		done.drained = incarnation
	}
	if done.refused == incarnation || time.Since(d.State().Since) < d.refuseAfter() {
		return
	}
	if err := d.cfg.Proxy.RefuseInbound(ctx); err != nil {
		d.failed("close inbound listeners", err)
		return
	}
	done.refused = incarnation
	d.log.Info("inbound connections are refused from now on")
}

// look tells whether the proxy is known to have nothing in flight.
func (d *Drainer) look(ctx context.Context) bool {
	defer d.markLooked()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	n, err := d.cfg.Proxy.InFlight(ctx)
	if err != nil {
		d.failed("count what is in flight", err)
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.ActiveConnections = &n
	d.metrics.inFlight.Set(float64(n))
	return n == 0
}

// stop ends the proxy.
func (d *Drainer) stop(ctx context.Context) error {
	began := d.enter(Stopping)
	timeout, hurried := d.stopTimeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var hurrying sync.WaitGroup
	hurrying.Go(func() {
		select {
		case <-d.hurry:
			if !hurried { // news, while the proxy takes its time to end
				d.cfg.Proxy.Kill()
			}
		case <-ctx.Done():
		}
	})
	err := d.cfg.Proxy.Stop(ctx)
	cancel()
	hurrying.Wait()
	if err != nil {
		d.failed("stop", err)
		d.cfg.Proxy.Kill()
		return fmt.Errorf("shut down proxy: %w", err)
	}
	d.metrics.seconds.Set(d.enter(Stopped).Sub(d.State().Since).Seconds())
	d.log.Info("proxy is gone", "stop_took", time.Since(began).Round(time.Millisecond))
	return nil
}

// stopTimeout bounds the proxy's end: by the usual timeout, less what has been overdrawn of the grace period, or by a
// short one in a hurry. It tells whether there is one.
func (d *Drainer) stopTimeout() (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hurried {
		return nowTimeout, true
	}
	left := time.Until(d.now.Deadline.Add(d.cfg.StopTimeout))
	return max(nowTimeout, min(d.cfg.StopTimeout, left)), false
}

// enter changes the state and gives the time.
func (d *Drainer) enter(s State) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.State = s
	d.metrics.state(s)
	return time.Now()
}

// failed keeps an error for the status and logs it when it is news; the looks repeat many times a second.
func (d *Drainer) failed(operation string, err error) {
	text := operation + ": " + err.Error()
	d.mu.Lock()
	news := d.now.LastError != text
	d.now.LastError = text
	d.mu.Unlock()
	if news {
		d.log.Warn("shutdown step failed", "operation", operation, "error", err)
	}
}

// markLooked closes looked once.
func (d *Drainer) markLooked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.lookedYet {
		d.lookedYet = true
		close(d.looked)
	}
}
