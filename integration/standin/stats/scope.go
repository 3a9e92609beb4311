// SPDX-License-Identifier: MPL-2.0

package stats

import "sync"

// Scope is a prefix under which one owner keeps its statistics. Closing it drops those that nobody else holds.
type Scope struct {
	store  *Store
	prefix string

	mu     sync.Mutex
	held   map[string]*entry
	closed bool
}

// Scope returns a new scope. The prefix is put in front of every name as it stands, so it normally ends with a dot.
func (s *Store) Scope(prefix string) *Scope {
	return &Scope{store: s, prefix: prefix, held: map[string]*entry{}}
}

// Prefix is what the scope puts in front of each name.
func (s *Scope) Prefix() string { return s.prefix }

// Counter returns the counter of that name, made on first use.
func (s *Scope) Counter(name string) *Counter { return s.get(name, KindCounter).counter }

// Gauge returns the gauge of that name, made on first use.
func (s *Scope) Gauge(name string) *Gauge { return s.get(name, KindGauge).gauge }

// Histogram returns the histogram of that name, made on first use.
func (s *Scope) Histogram(name string) *Histogram { return s.get(name, KindHistogram).histogram }

func (s *Scope) get(name string, kind Kind) *entry {
	full := s.prefix + name
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.held[full]; ok && e.kind == kind {
		return e
	}
	e := s.store.hold(full, kind)
	if s.closed {
		// A late statistic of something that is ending still counts somewhere, but must not bring the name back.
		s.store.release([]string{full})
		return e
	}
	s.held[full] = e
	return e
}

// Close gives the scope's statistics up. It may be called more than once.
func (s *Scope) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	names := make([]string, 0, len(s.held))
	for name := range s.held {
		names = append(names, name)
	}
	s.store.release(names)
}
