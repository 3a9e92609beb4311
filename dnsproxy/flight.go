// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"sync"
	"time"
)

// flight is one query to a server, for all who ask the same meanwhile.
type flight struct {
	key     string
	q       *query // what the server is asked
	started time.Time
	next    *flight // in a lane

	// Guarded by flights.
	askers   []asker
	patience *time.Timer // nil if nothing is kept for anybody
}

// flights are the queries to servers that are under way.
type flights struct {
	mu    sync.Mutex
	byKey map[string]*flight
}

// part is what an asker is to a flight.
type part int

const (
	lead   part = iota // must see to it that it lands
	shares             // gets its outcome
	late               // has no part in it, and gets what is kept
)

// join gives the flight for key. impatient is called when it takes longer than
// patience, if something is kept for those who have asked.
func (f *flights) join(key string, a asker, impatient func(*flight)) (*flight, part) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl, found := f.byKey[key]
	if !found {
		fl = &flight{key: key, q: a.q, started: a.arrived}
		f.byKey[key] = fl
	}
	if a.kept != nil {
		left := patience - time.Since(fl.started)
		if found && left <= 0 {
			return fl, late
		}
		if fl.patience == nil {
			fl.patience = time.AfterFunc(left, func() { impatient(fl) })
		}
	}
	fl.askers = append(fl.askers, a)
	if found {
		return fl, shares
	}
	return fl, lead
}

// land ends a flight, and gives those who wait for its outcome: the next to ask
// starts another.
func (f *flights) land(fl *flight) []asker {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byKey, fl.key)
	if fl.patience != nil {
		fl.patience.Stop()
	}
	askers := fl.askers
	fl.askers = nil
	return askers
}

// leave takes those out of a flight for whom something is kept.
func (f *flights) leave(fl *flight) []asker {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept, rest := split(fl.askers)
	fl.askers = rest
	return kept
}

// split parts those for whom something is kept from the rest.
func split(askers []asker) (kept, rest []asker) {
	for _, a := range askers {
		if a.kept != nil {
			kept = append(kept, a)
		} else {
			rest = append(rest, a)
		}
	}
	return kept, rest
}
