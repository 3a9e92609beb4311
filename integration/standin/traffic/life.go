// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"sync"
	"time"
)

// life is the Engine's lifetime. It is a context that ends with Close, and the count of what must end before Close
// returns.
type life struct {
	done chan struct{}

	mu      sync.Mutex
	ended   bool
	running int
	idle    chan struct{} // closed when ended and nothing runs
	after   map[*func()]struct{}
}

var _ context.Context = (*life)(nil)

func newLife() *life {
	return &life{done: make(chan struct{}), idle: make(chan struct{})}
}

// Deadline implements context.Context: there is none.
func (l *life) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (l *life) Done() <-chan struct{} { return l.done }

// Err implements context.Context.
func (l *life) Err() error {
	select {
	case <-l.done:
		return context.Canceled
	default:
		return nil
	}
}

// Value implements context.Context: there are none.
func (l *life) Value(any) any { return nil }

// AfterFunc lets package context follow this lifetime without a goroutine for each of its children. f is called in a
// goroutine of its own when the lifetime ends; stop reports whether it came in time to prevent that.
func (l *life) AfterFunc(f func()) (stop func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		go f()
		return func() bool { return false }
	}
	key := &f
	if l.after == nil {
		l.after = map[*func()]struct{}{}
	}
	l.after[key] = struct{}{}
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, waiting := l.after[key]
		delete(l.after, key)
		return waiting
	}
}

// begin counts a piece of work in; it reports false when the Engine is closing, and then nothing may be started.
func (l *life) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.running++
	return true
}

// finish counts a piece of work out.
func (l *life) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running--; l.running == 0 && l.ended {
		close(l.idle)
	}
}

// start runs f in a goroutine that Close waits for, and reports whether it did.
func (l *life) start(f func()) bool {
	if !l.begin() {
		return false
	}
	go func() {
		defer l.finish()
		f()
	}()
	return true
}

// end lets nothing new begin and ends the context.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.done)
	for f := range l.after {
		go (*f)()
	}
	l.after = nil
	if l.running == 0 {
		close(l.idle)
	}
}

// wait returns when everything that began has finished, or with ctx's error.
func (l *life) wait(ctx context.Context) error {
	select {
	case <-l.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
