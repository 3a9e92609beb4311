// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// errBusy is no decision about a pod: whoever asks should ask again.
var errBusy = errors.New("too many reviews at the same time")

// bounds are on the work that the server has taken on. What exceeds them is
// refused at once: work that waits for longer than its client does is done for
// nobody, and everything behind it waits for nothing.
type bounds struct {
	deciding chan struct{} // holds one for each review that is decided on
	waiting  chan struct{} // holds one for each review that waits for its turn
	patience time.Duration // of one that waits
	left     atomic.Int64  // bytes that bodies may still take
}

func newBounds(cfg Config) *bounds {
	b := &bounds{
		deciding: make(chan struct{}, cfg.Concurrency), waiting: make(chan struct{}, cfg.Waiting), patience: cfg.Patience,
	}
	b.left.Store(cfg.Memory)
	return b
}

// full tells whether a review would not even be let to wait.
func (b *bounds) full() bool {
	return len(b.waiting) == cap(b.waiting) && len(b.deciding) == cap(b.deciding)
}

// turn waits until a review may be decided on. done ends its turn.
func (b *bounds) turn(ctx context.Context) (done func(), err error) {
	done = func() { <-b.deciding }
	select {
	case b.deciding <- struct{}{}:
		return done, nil
	default:
	}
	select {
	case b.waiting <- struct{}{}:
		defer func() { <-b.waiting }()
	default:
		return nil, errBusy
	}
	patience := time.NewTimer(b.patience)
	defer patience.Stop()
	select {
	case b.deciding <- struct{}{}:
		return done, nil
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil, errBusy
}

// metered reads a body, as long as there are bytes left for it. They are counted
// as they come: announced ones cost nothing.
type metered struct {
	from  io.Reader
	of    *bounds
	taken int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.taken += int64(n)
	if n > 0 && m.of.left.Add(-int64(n)) < 0 {
		return n, errBusy
	}
	return n, err
}

// done gives the bytes back.
func (m *metered) done() { m.of.left.Add(m.taken) }
