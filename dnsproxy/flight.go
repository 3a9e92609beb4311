// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"sync"
	"time"
)

// flight is one query to a server, for all who ask the same meanwhile. Its
// answer is written once, before done is closed.
type flight struct {
	started time.Time
	done    chan struct{}
	answer  message // shared: nobody writes to it; nil if err is set
	err     error
}

// flights are the queries to servers that are under way.
type flights struct {
	mu    sync.Mutex
	byKey map[string]*flight
}

// join gives the flight for key. Who gets lead must see to it that it lands.
func (f *flights) join(key string) (fl *flight, lead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, found := f.byKey[key]; found {
		return fl, false
	}
	fl = &flight{started: time.Now(), done: make(chan struct{})}
	f.byKey[key] = fl
	return fl, true
}

// land ends the flight for key: whoever joined it has its outcome, and the next
// to ask starts another.
func (f *flights) land(key string, answer message, err error) {
	f.mu.Lock()
	fl := f.byKey[key]
	delete(f.byKey, key)
	f.mu.Unlock()
	fl.answer, fl.err = answer, err
	close(fl.done)
}
