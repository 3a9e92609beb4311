// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// largeFrom is the size in bytes from which there is not to be more than one
// response at a time between the two streams.
const largeFrom = 1 << 20

var errReplaced = status.Error(codes.Aborted, "replaced by a newer stream of the same Envoy")

// session is one Envoy stream from its start to its end. Three goroutines work
// for it: one reads from Envoy, one keeps an upstream stream and passes its
// responses on, one sends Envoy what the cache has.
type session struct {
	server *Server
	stream grpc.ServerStream
	cancel context.CancelCauseFunc

	// Guarded by server.mu: what happens on the two streams is booked in one
	// order, and the queues are filled in that order.
	ledger *ledger
	toUp   *queue             // of the upstream stream in use; nil if there is none
	leave  context.CancelFunc // ends that stream

	local   *queue     // from the cache to Envoy
	sending sync.Mutex // held over booking a response and sending it, so that the orders agree
}

func newSession(s *Server, stream grpc.ServerStream, cancel context.CancelCauseFunc) *session {
	return &session{
		server: s,
		stream: stream,
		cancel: cancel,
		ledger: newLedger(s.cache, s.now),
		local:  newQueue(),
	}
}

// receive reads Envoy's requests until its stream ends.
func (ss *session) receive() error {
	for {
		f := &frame{}
		if err := ss.stream.RecvMsg(f); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		r, err := parseRequest(f.data)
		f.typeURL = r.typeURL
		ss.server.metrics.count(fromEnvoy, f)
		if err != nil {
			f.free()
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if err := ss.request(f, r); err != nil {
			return err
		}
	}
}

func (ss *session) request(f *frame, r request) error {
	s := ss.server
	if r.rejected {
		s.log.Warn("envoy rejected configuration", "type", shortType(r.typeURL), "reason", bounded(r.reason))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := ss.ledger.request(f, r)
	if r.nonce != "" { // before the server has it: who sees the answer there may look at the count
		s.metrics.answered(ss.ledger.types[r.typeURL], r.rejected)
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
// waits while Envoy does not read: that is the flow control. gRPC itself would
// take a message of any size at once, and make the next one wait; so a large one
// is waited for here, before the next one is taken in.
func (ss *session) respond(ctx context.Context, f *frame, r response) error {
	sent, err := ss.send(f, r)
	if err != nil || sent == nil {
		return err
	}
	select {
	case <-sent:
	case <-ctx.Done():
	case <-ss.stream.Context().Done():
	}
	return nil
}

// send is respond without the wait for a large message; sent is nil for others.
func (ss *session) send(f *frame, r response) (sent <-chan struct{}, err error) {
	ss.sending.Lock()
	defer ss.sending.Unlock()
	ss.server.mu.Lock()
	out := ss.ledger.response(f, r)
	ss.server.mu.Unlock()
	if out.data.Len() >= largeFrom {
		sent = out.markSent()
	}
	defer out.free()
	ss.server.metrics.count(toEnvoy, out)
	return sent, ss.stream.SendMsg(out)
}

// serveLocal sends Envoy what the ledger answers from the cache.
func (ss *session) serveLocal(ctx context.Context) {
	defer ss.local.close()
	for {
		frames := ss.local.take(ctx)
		if frames == nil {
			return
		}
		for i, f := range frames {
			if err := ss.sendLocal(f); err != nil {
				freeAll(frames[i+1:])
				return // Envoy's stream is at its end, as receive will see
			}
		}
	}
}

func (ss *session) sendLocal(f *frame) error {
	defer f.free()
	ss.sending.Lock()
	defer ss.sending.Unlock()
	ss.server.metrics.count(toEnvoy, f)
	return ss.stream.SendMsg(f)
}
