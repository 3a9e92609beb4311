// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// watchedBody counts a request's body and tells when it has arrived whole. An upstream's transport reads it in a
// goroutine of its own.
type watchedBody struct {
	io.ReadCloser
	exchange *exchange
	read     atomic.Int64

	mu    sync.Mutex
	ended bool
	hooks []func()
}

// atEnd calls f when the body is complete; at once if there is none.
func (b *watchedBody) atEnd(f func()) {
	b.mu.Lock()
	now := b.ended || b.ReadCloser == nil || b.ReadCloser == http.NoBody
	if !now {
		b.hooks = append(b.hooks, f)
	}
	b.mu.Unlock()
	if now {
		f()
	}
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	b.exchange.active()
	if err == io.EOF {
		b.end()
	}
	return n, err
}

func (b *watchedBody) end() {
	b.mu.Lock()
	hooks := b.hooks
	b.ended, b.hooks = true, nil
	b.mu.Unlock()
	for _, f := range hooks {
		f()
	}
}

// endings are what is to be done when an exchange is over. They may be added from several goroutines, also late.
type endings struct {
	mu   sync.Mutex
	list []func()
	over bool
}

// add keeps f for the end, or calls it at once if that has passed.
func (e *endings) add(f func()) {
	e.mu.Lock()
	over := e.over
	if !over {
		e.list = append(e.list, f)
	}
	e.mu.Unlock()
	if over {
		f()
	}
}

func (e *endings) run() {
	e.mu.Lock()
	list := e.list
	e.over, e.list = true, nil
	e.mu.Unlock()
	for _, f := range list {
		f()
	}
}
