// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// firstPause is the longest pause before the restart of an Envoy that had been LIVE. With the few milliseconds of
	// the start itself it stays below 100 ms.
	firstPause = 50 * time.Millisecond
	// pauseStep is the longest pause before the second restart in a row of an Envoy that never gets LIVE; it doubles.
	pauseStep = 200 * time.Millisecond
)

// restartBudget decides whether and when a crashed Envoy is started again. One goroutine uses it.
type restartBudget struct {
	limit  int
	window time.Duration
	cap    time.Duration

	restarts []time.Time // those within the window, oldest first
	failures int         // crashes in a row without having been LIVE
}

func newRestartBudget(limit int, window, maxBackoff time.Duration) *restartBudget {
	return &restartBudget{limit: limit, window: window, cap: maxBackoff}
}

// recent is the number of restarts within the window that ends now.
func (b *restartBudget) recent(now time.Time) int {
	b.restarts = slices.DeleteFunc(b.restarts, func(t time.Time) bool { return now.Sub(t) >= b.window })
	return len(b.restarts)
}

// next takes the time of a crash and whether that Envoy had been LIVE. It gives the pause before the restart, and false
// when there is none to be.
func (b *restartBudget) next(now time.Time, wasLive bool) (time.Duration, bool) {
	if b.recent(now) >= b.limit {
		return 0, false
	}
	b.restarts = append(b.restarts, now)
	if wasLive {
		b.failures = 0
	}
	limit := firstPause
	if b.failures > 0 {
		// The shift is bounded, so that it cannot overflow.
		limit = min(pauseStep<<min(b.failures-1, 20), b.cap)
	}
	b.failures++
	// The upper half is jitter: pods that crash together do not come back together, and none comes back at once.
	return limit/2 + rand.N(limit/2+1), true //nolint:gosec // jitter is no secret
}

// maxEarlyExits is how many times in a row an Envoy that has never been LIVE may exit with one and the same code. That
// takes about a second, and tells an argument or a bootstrap that this Envoy does not take from bad luck.
const maxEarlyExits = 5

// earlyExits recognises an Envoy that cannot start at all. One goroutine uses it.
type earlyExits struct {
	wasLive bool // an Envoy has been LIVE, so it can start
	code    int
	count   int // exits in a row with that code
}

// hopeless takes a crash and tells whether a restart would end in the same one.
func (e *earlyExits) hopeless(c *crash) bool {
	e.wasLive = e.wasLive || c.reachedLive
	switch {
	case e.wasLive:
		return false
	case c.Signal != 0: // a crash proper: that may go differently the next time
		e.count = 0
	case e.count > 0 && c.Code == e.code:
		e.count++
	default:
		e.code, e.count = c.Code, 1
	}
	return e.count >= maxEarlyExits
}
