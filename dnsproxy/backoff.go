// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"time"
)

const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// backoff is the pause after errors of a socket, such as a lack of file
// descriptors, which the next attempt would meet as well.
type backoff struct{ next time.Duration }

func (b *backoff) first() bool { return b.next == 0 }
func (b *backoff) reset()      { b.next = 0 }

// wait pauses, longer each time, or until ctx is done.
func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, minPause), maxPause)
	within(b.next, ctx.Done())
}
