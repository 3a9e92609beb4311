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

// resolve answers a query from the cache, or has it answered when a server has
// answered it or an equal one.
func (s *Server) resolve(ctx context.Context, a asker, out *outbox) {
	key := a.q.key()
	kept, state := s.cache.get(key, a.arrived)
	if state == fresh {
		s.metrics.hits.Inc()
		s.reply(a, finish(kept, a.q), out)
		return
	}
	if !s.admit() {
		s.metrics.rejections.WithLabelValues("overload").Inc()
		s.reply(a, failure(a.q, rcodeServerFailure), out)
		return
	}
	a.kept = kept
	fl, is := s.flights.join(key, a, s.serveStale)
	if is == lead {
		s.metrics.misses.Inc()
	} else {
		s.metrics.shared.Inc()
	}
	switch is {
	case late:
		s.deliverKept([]asker{a}, out)
	case lead:
		if l := s.lane(a.q); l.enter(fl) {
			s.tasks.Go(func() { s.flyAll(ctx, l, fl) })
		}
	}
}

// flyAll asks a server for a flight, and then for those that wait for their
// turn.
func (s *Server) flyAll(ctx context.Context, l *lane, fl *flight) {
	growStack(0)
	for out := (&outbox{s: s}); fl != nil; fl = l.next() {
		s.fly(ctx, fl, out)
	}
}

// growStack has the runtime enlarge the goroutine's stack while there is next to
// nothing on it. A call to a server takes this much, and stacks that grow in
// the midst of it were a fifteenth of all the work for a query.
//
//go:noinline
func growStack(i int) byte {
	var room [6 << 10]byte
	return room[i]
}

// fly asks a server, keeps its answer, and gives it to those who wait for it.
func (s *Server) fly(ctx context.Context, fl *flight, out *outbox) {
	ctx, cancel := context.WithDeadline(ctx, fl.started.Add(s.config.Timeout))
	defer cancel()
	answer, err := s.upstream.exchange(ctx, fl.q)
	if err == nil {
		s.cache.put(fl.key, answer, time.Now())
	} else {
		s.log.Debug("query failed", "name", fl.q.name, "type", fl.q.kind, "error", err)
		answer = failure(fl.q, rcodeServerFailure)
	}
	askers := s.flights.land(fl)
	// A server that says SERVFAIL counts as one that does not answer (RFC 8767,
	// section 4): a Consul server says so while it does not know the token.
	if answer.rcode() == rcodeServerFailure {
		var kept []asker
		kept, askers = split(askers)
		s.deliverKept(kept, out)
	}
	// But for the ID, those who asked the same get the same bytes.
	answer = fit(answer, fl.q)
	s.deliver(askers, out, func(a asker) message {
		m := slices.Clone(answer)
		m.setID(a.q.id())
		return m
	})
}

// serveStale gives those who wait for a flight what is kept for them.
func (s *Server) serveStale(fl *flight) {
	s.deliverKept(s.flights.leave(fl), &outbox{s: s})
}

func (s *Server) deliverKept(askers []asker, out *outbox) {
	s.metrics.stale.Add(float64(len(askers)))
	s.deliver(askers, out, func(a asker) message { return finish(a.kept, a.q) })
}

// finish makes of an answer of its own the one for q.
func finish(answer message, q *query) message {
	answer.setID(q.id())
	return fit(answer, q)
}
