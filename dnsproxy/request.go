// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"slices"
	"time"
)

// client is where a request came from.
type client interface {
	// answer sends an answer, or leaves it in out. It is called once at most.
	answer(m message, out *outbox)
	// done is called once, when there is nothing more to do.
	done()
}

// request is a packet that came, and the way back.
type request struct {
	packet  []byte
	cut     bool // there was more of it
	via     transport
	arrived time.Time
	from    client
}

// asker is a request that is a query, and what is kept for it.
type asker struct {
	request
	q    *query
	kept message // what to answer if no server does; nil for nothing
}

// start serves a request: at once if what to answer is known, otherwise when a
// server has answered. It does not wait for that.
func (s *Server) start(ctx context.Context, r request, out *outbox) {
	q, refused := s.read(r)
	if q != nil && refused == nil {
		s.resolve(ctx, asker{request: r, q: q}, out)
		return
	}
	if refused != nil {
		s.metrics.answered(q, r.via, refused, time.Since(r.arrived))
		r.from.answer(refused, out)
	}
	r.from.done()
}

// read gives the query of a request, and what to answer if it cannot be served:
// neither if it is to have no answer.
func (s *Server) read(r request) (q *query, refused message) {
	switch {
	case len(r.packet) < 2:
		s.metrics.rejections.WithLabelValues("malformed").Inc()
		return nil, nil // there is no ID to answer to
	case len(r.packet) > 2 && r.packet[2]&(flagQR>>8) != 0:
		s.metrics.rejections.WithLabelValues("response").Inc()
		return nil, nil // or two servers could go on answering each other
	}
	rcode := rcodeFormatError
	if len(r.packet) >= headerLen && !r.cut {
		q, rcode = parseQuery(r.packet, r.via)
	}
	switch rcode {
	case rcodeSuccess:
		return q, nil
	case rcodeFormatError:
		s.metrics.rejections.WithLabelValues("malformed").Inc()
	case rcodeNotImplemented:
		s.metrics.rejections.WithLabelValues("opcode").Inc()
	}
	if q != nil {
		return q, failure(q, rcode)
	}
	return nil, refusal(r.packet, rcode)
}

// admit takes a place among the queries under way, if there is one. leave gives
// it back.
func (s *Server) admit() bool {
	select {
	case s.slots <- struct{}{}:
	default:
		return false
	}
	s.tasks.Add(1)
	s.metrics.inFlight.Inc()
	return true
}

func (s *Server) leave() {
	s.metrics.inFlight.Dec()
	<-s.slots
	s.tasks.Done()
}

// reply ends a request with an answer of its own.
func (s *Server) reply(a asker, m message, out *outbox) {
	s.metrics.answered(a.q, a.via, m, time.Since(a.arrived))
	a.from.answer(m, out)
	a.from.done()
}

// deliver ends requests that were admitted, with the answer that give has for
// each. Those over TCP do not wait for each other's clients to read.
func (s *Server) deliver(askers []asker, out *outbox, give func(asker) message) {
	for some := range slices.Chunk(askers, batchSize) {
		for _, a := range some {
			if a.via == overTCP {
				s.tasks.Go(func() { s.reply(a, give(a), nil); s.leave() })
			} else {
				s.reply(a, give(a), out)
			}
		}
		out.flush()
		for _, a := range some {
			if a.via == overUDP {
				s.leave()
			}
		}
	}
}
