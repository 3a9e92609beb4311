// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"bytes"
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
	bodies   budget        // of bytes that bodies take
	elements budget        // of bytes that what is read from bodies may take
}

// budget is what is left of something.
type budget struct{ atomic.Int64 }

// take tells whether there was so much left. If so, it has to be given back.
func (b *budget) take(n int64) bool {
	if b.Add(-n) < 0 {
		b.give(n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.Add(n) }

const (
	// elementSize is about what an element of a list may take in memory, in bytes:
	// two bytes of JSON can be a whole container.
	elementSize = 1 << 10
	// maxElements bounds them in one review. Pods that somebody means have far
	// fewer.
	maxElements = 64 << 10
	// elementMemory is for all that are decided on at the same time, in bytes.
	elementMemory = 128 << 20
)

// elementsOf counts what may be elements of lists or maps: there is a comma
// between two.
func elementsOf(body []byte) int64 { return int64(bytes.Count(body, []byte(","))) + 1 }

func newBounds(cfg Config) *bounds {
	b := &bounds{
		deciding: make(chan struct{}, cfg.Concurrency), waiting: make(chan struct{}, cfg.Waiting), patience: cfg.Patience,
	}
	b.bodies.Store(cfg.Memory)
	b.elements.Store(elementMemory)
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
	if n > 0 && !m.of.bodies.take(int64(n)) {
		return 0, errBusy
	}
	m.taken += int64(n)
	return n, err
}

// done gives the bytes back.
func (m *metered) done() { m.of.bodies.give(m.taken) }
