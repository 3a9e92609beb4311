// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"time"
)

// request is a packet that came, and the way back.
type request struct {
	packet  []byte
	via     transport
	arrived time.Time
	// send takes the answer. It is called once at most.
	send func(message)
	// done is called once, when there is nothing more to do.
	done func()
}

// start serves a request, from another goroutine unless too many queries are
// under way already.
func (s *Server) start(ctx context.Context, r request) {
	r.arrived = time.Now()
	select {
	case s.slots <- struct{}{}:
	default:
		defer r.done()
		s.metrics.rejections.WithLabelValues("overload").Inc()
		s.reply(r, func(q *query) message { return failure(q, rcodeServerFailure) })
		return
	}
	s.metrics.inFlight.Inc()
	s.tasks.Go(func() {
		defer func() {
			s.metrics.inFlight.Dec()
			<-s.slots
			r.done()
		}()
		s.reply(r, func(q *query) message { return s.resolve(ctx, q) })
	})
}

// reply sends the answer to a request, if it is to have one: what serve gives
// for a query that can be read, otherwise a refusal.
func (s *Server) reply(r request, serve func(*query) message) {
	switch {
	case len(r.packet) < 2:
		s.metrics.rejections.WithLabelValues("malformed").Inc()
		return // there is no ID to answer to
	case len(r.packet) > 2 && r.packet[2]&(flagQR>>8) != 0:
		s.metrics.rejections.WithLabelValues("response").Inc()
		return // or two servers could go on answering each other
	}
	var q *query
	rcode := rcodeFormatError
	if len(r.packet) >= headerLen {
		q, rcode = parseQuery(r.packet, r.via)
	}
	var answer message
	switch {
	case rcode == rcodeSuccess:
		answer = serve(q)
	case q != nil:
		answer = failure(q, rcode)
	default:
		answer = refusal(r.packet, rcode)
	}
	switch rcode {
	case rcodeFormatError:
		s.metrics.rejections.WithLabelValues("malformed").Inc()
	case rcodeNotImplemented:
		s.metrics.rejections.WithLabelValues("opcode").Inc()
	}
	s.metrics.answered(q, r.via, answer, time.Since(r.arrived))
	r.send(answer)
}
