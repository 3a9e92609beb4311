// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"slices"
	"time"
)

// patience is how long a query to the servers may take before those who ask get
// a stale answer, if there is one: less than any resolver's own timeout
// (RFC 8767, section 5).
const patience = time.Second

// resolve answers a query: from the cache, from an equal query under way, or
// from a server.
func (s *Server) resolve(ctx context.Context, q *query) message {
	key := q.key()
	kept, state := s.cache.get(key, time.Now())
	if state == fresh {
		s.metrics.lookups.WithLabelValues("hit").Inc()
		return finish(kept, q)
	}
	fl, lead := s.flights.join(key)
	if lead {
		s.metrics.lookups.WithLabelValues("miss").Inc()
	} else {
		s.metrics.lookups.WithLabelValues("shared").Inc()
	}
	switch {
	case lead && state == stale:
		// The client may not wait for the end of it.
		s.tasks.Go(func() { s.fly(ctx, key, q) })
	case lead:
		s.fly(ctx, key, q)
	}
	if state == stale && (!within(patience-time.Since(fl.started), fl.done) || !good(fl)) {
		s.metrics.lookups.WithLabelValues("stale").Inc()
		return finish(kept, q)
	}
	<-fl.done // which Config.Timeout bounds
	if fl.err != nil {
		return failure(q, rcodeServerFailure)
	}
	return finish(slices.Clone(fl.answer), q)
}

// fly asks a server, and keeps its answer.
func (s *Server) fly(ctx context.Context, key string, q *query) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	answer, err := s.upstream.exchange(ctx, q)
	if err == nil {
		s.cache.put(key, answer, time.Now())
	} else {
		s.log.Debug("query failed", "name", q.name, "type", q.kind, "error", err)
	}
	s.flights.land(key, answer, err)
}

// good tells whether a server answered. One that says SERVFAIL counts as one
// that does not (RFC 8767, section 4): a Consul server says so while it does
// not know the token.
func good(fl *flight) bool {
	return fl.err == nil && fl.answer.rcode() != rcodeServerFailure
}

// finish makes of an answer of its own the one for q.
func finish(answer message, q *query) message {
	answer.setID(q.id())
	return fit(answer, q)
}
