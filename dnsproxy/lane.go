// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import "sync"

// lane lets some flights be under way at a time, the others in the order in
// which they came. One that waits takes no goroutine, and because all flights
// have the same time, none waits beyond its own: whatever was before it is over
// by then.
type lane struct {
	most int

	mu          sync.Mutex
	running     int
	first, last *flight // of those that wait
}

// enter tells whether the flight may begin; otherwise next will give it.
func (l *lane) enter(fl *flight) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.running < l.most:
		l.running++
		return true
	case l.last == nil:
		l.first = fl
	default:
		l.last.next = fl
	}
	l.last = fl
	return false
}

// next gives who has ended a flight the next one, nil if none waits.
func (l *lane) next() *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	fl := l.first
	if fl == nil {
		l.running--
		return nil
	}
	if l.first, fl.next = fl.next, nil; l.first == nil {
		l.last = nil
	}
	return fl
}
