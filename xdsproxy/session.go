// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"podplane/xdsproxy/downstream"
)

var errReplaced = status.Error(codes.Aborted, "replaced by a newer stream of the same Envoy")

// session is one Envoy stream from its start to its end. Three goroutines work
// for it: that which reads Envoy's connection calls receive, one keeps an upstream
// stream and passes its responses on, one sends Envoy what the cache has.
type session struct {
	server *Server
	stream *downstream.Stream

	// Guarded by server.mu: what happens on the two streams is booked in one
	// order, and the queues are filled in that order.
	ledger *ledger
	toUp   *queue             // of the upstream stream in use; nil if there is none
	leave  context.CancelFunc // ends that stream

	local   *queue     // from the cache to Envoy
	sending sync.Mutex // held over booking a response and sending it, so that the orders agree
	field   []byte     // of the response that is sent, for its nonce
}

func newSession(s *Server, stream *downstream.Stream) *session {
	return &session{
		server: s,
		stream: stream,
		ledger: newLedger(s.cache, s.now),
		local:  newQueue(),
	}
}

// receive takes a request of Envoy's.
func (ss *session) receive(message []byte) error {
	r, err := parseRequest(mem.BufferSlice{mem.SliceBuffer(message)})
	meter := ss.server.metrics.meter(r.typeURL)
	meter.count(fromEnvoy, len(message))
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return ss.request(message, r, meter)
}

func (ss *session) request(message []byte, r request, meter *meter) error {
	s := ss.server
	if r.rejected {
		s.log.Warn("envoy rejected configuration", "type", shortType(r.typeURL), "reason", bounded(r.reason))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := ss.ledger.request(message, r)
	if r.nonce != "" { // before the server has it: who sees the answer there may look at the count
		meter.answered(ss.ledger.types[r.typeURL], r.rejected)
	}
	ss.push(o.upstream)
	if s.cache != nil && s.cache.dirty {
		s.noteChange()
	}
	if !ss.local.push(o.envoy...) {
		return status.Error(codes.ResourceExhausted, "Envoy asks and does not read the answers")
	}
	return nil
}

// push hands requests to the sender of the upstream stream. A server that has
// stopped reading loses the stream: the next one starts from the ledger, so
// that nothing is lost with what waits here.
func (ss *session) push(frames []*frame) {
	if ss.toUp == nil {
		freeAll(frames)
		return
	}
	if !ss.toUp.push(frames...) {
		ss.server.log.Warn("consul server does not read envoy's requests, leaving it", "queued", maxQueued)
		ss.leave()
	}
}

// respond books a response of the upstream stream and sends it to Envoy. It
// waits while Envoy does not read: that is the flow control.
func (ss *session) respond(data mem.BufferSlice, r response) error {
	meter := ss.server.metrics.meter(r.typeURL)
	meter.count(fromServer, data.Len())
	ss.server.answered()
	ss.sending.Lock()
	defer ss.sending.Unlock()
	field := ss.book(data, r)
	meter.count(toEnvoy, data.Len()+len(field))
	return ss.stream.Send(data, field)
}

// book enters a response into the books and gives what is to be sent behind it. The
// caller holds sending.
func (ss *session) book(data mem.BufferSlice, r response) (field []byte) {
	ss.server.mu.Lock()
	nonce := ss.ledger.response(r, data)
	ss.server.mu.Unlock()
	ss.field = ss.field[:0]
	if nonce != "" { // a later scalar field of a message overrides an earlier one
		ss.field = appendStrings(ss.field, responseNonce, nonce)
	}
	return ss.field
}

// serveLocal sends Envoy what the ledger answers from the cache, until ctx is done.
func (ss *session) serveLocal(ctx context.Context) {
	defer context.AfterFunc(ctx, ss.local.close)()
	var frames []*frame
	for {
		frames = ss.local.take(frames)
		if len(frames) == 0 {
			return
		}
		for _, f := range frames {
			ss.sendLocal(f)
		}
	}
}

// sendLocal does not tell of an error: it is the end of Envoy's stream, of which
// everybody is told.
func (ss *session) sendLocal(f *frame) {
	defer f.free()
	ss.sending.Lock()
	defer ss.sending.Unlock()
	ss.server.metrics.meter(f.typeURL).count(toEnvoy, f.data.Len())
	_ = ss.stream.Send(f.data, nil)
}
