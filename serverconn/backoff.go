// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives the delays between attempts: each twice the one before, up to
// a limit, and each cut by up to half at random, so that the pods of a mesh do
// not return all at once.
type backoff struct {
	first, limit time.Duration
	next         time.Duration
}

func (b *backoff) delay() time.Duration {
	if b.next == 0 {
		b.next = b.first
	}
	d := min(b.next, b.limit)
	b.next = 2 * d
	return d/2 + rand.N(d/2+1) //nolint:gosec // no secret depends on it
}

func (b *backoff) reset() { b.next = 0 }

// pause waits for d, or less when wake fires, and reports the end of ctx.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// poke makes ch readable without blocking. With a capacity of one, a reader
// that looks at the state after each receipt misses nothing.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
