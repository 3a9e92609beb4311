// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMax   = 10 * time.Second
	// openTimeout bounds the opening of an upstream stream: while a connection
	// is being made, gRPC waits for it without an end.
	openTimeout = 5 * time.Second
)

// errMoved and errAged end streams that are left for another one.
var (
	errMoved = status.Error(codes.Unavailable, "the connection moved to another server or token")
	errAged  = status.Error(codes.Unavailable, "the stream has reached its age")
)

// upstreams keeps an upstream stream for the session until ctx is done. The
// delay before another try grows until a stream has lasted or a server has
// answered something; it is cut short when the connection to the servers changes.
func (ss *session) upstreams(ctx context.Context) {
	s := ss.server
	delay := backoffFirst
	for {
		changed := s.config.changed()
		began := s.now()
		answered, err := ss.upstream(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errMoved) || errors.Is(err, errAged) {
			s.left(err)
			continue // there is a server to go to
		}
		s.lost(err, answered)
		if answered || s.now().Sub(began) > backoffMax {
			delay = backoffFirst
		}
		wait := jitter(delay)
		delay = min(2*delay, backoffMax)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-changed:
		}
	}
}

// jitter spreads a delay over half to one and a half of it, so that the proxies
// of a fleet that lost the same server do not come back in step.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:gosec // no secret depends on it
}

// upstream opens one stream to a server and passes on what it says until it
// ends. It tells whether the server answered anything.
func (ss *session) upstream(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	epoch := ss.server.config.epoch()
	opening := time.AfterFunc(openTimeout, cancel)
	stream, err := ss.server.config.Upstream.NewStream(ctx, &streamDesc, methodName,
		grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(math.MaxInt), grpc.MaxCallSendMsgSize(math.MaxInt))
	if !opening.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return false, err
	}
	q := ss.attach(cancel)
	quiet := time.AfterFunc(silence, ss.server.tellSilence)
	defer quiet.Stop()
	var heard, aged atomic.Bool
	defer ss.awaitAnswer(epoch, &heard)()
	age := time.AfterFunc(ss.server.config.age(), func() {
		aged.Store(true)
		cancel()
	})
	defer age.Stop()
	defer context.AfterFunc(ctx, q.close)()
	var helpers sync.WaitGroup
	helpers.Go(func() {
		defer cancel()
		ss.sendAll(stream, q)
	})
	helpers.Go(func() {
		defer cancel()
		ss.server.config.awaitEpoch(ctx, epoch)
	})
	err = ss.relay(stream, &heard)
	cancel()
	helpers.Wait()
	ss.detach(q)
	switch {
	case ss.server.config.epoch() != epoch:
		err = errMoved
	case aged.Load():
		err = errAged
	}
	return heard.Load(), err
}

// awaitEpoch waits until the connection leads to another server, or carries
// another token, than in the given epoch.
func (c Config) awaitEpoch(ctx context.Context, epoch uint64) {
	for c.epoch() == epoch {
		select {
		case <-ctx.Done():
			return
		case <-c.changed():
		}
	}
}

// attach makes the new upstream stream the one in use.
func (ss *session) attach(cancel context.CancelFunc) *queue {
	s := ss.server
	q := newQueue()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	o := ss.ledger.connect(s.gen)
	q.push(o.upstream...)
	ss.toUp, ss.leave = q, cancel
	s.attached()
	s.metrics.upstreamUp.Set(1)
	s.metrics.connects.Inc()
	return q
}

func (ss *session) detach(q *queue) {
	ss.server.mu.Lock()
	defer ss.server.mu.Unlock()
	ss.ledger.disconnect()
	ss.toUp, ss.leave = nil, nil
	q.close()
	// A newer stream of Envoy's may have one to a server already.
	if s := ss.server; s.current == ss || s.current == nil {
		s.status.UpstreamConnected = false
		s.metrics.upstreamUp.Set(0)
	}
}

// sendAll sends what is queued until the stream ends or the queue is closed. The
// reason of an end is told by the receiving side.
func (ss *session) sendAll(stream grpc.ClientStream, q *queue) {
	var frames []*frame
	for {
		frames = q.take(frames)
		if len(frames) == 0 {
			return
		}
		for i, f := range frames {
			ss.server.metrics.meter(f.typeURL).count(toServer, f.data.Len())
			err := stream.SendMsg(f)
			f.free()
			if err != nil {
				freeAll(frames[i+1:])
				return
			}
		}
	}
}

// relay passes responses on to Envoy until the stream ends, and gives the
// reason for it. It sets heard when the server has answered something.
func (ss *session) relay(stream grpc.ClientStream, heard *atomic.Bool) error {
	var f frame
	for {
		if err := stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				err = status.Error(codes.Unavailable, "the server ended the stream")
			}
			return err
		}
		r, err := parseResponse(f.data)
		if err == nil {
			heard.Store(true)
			err = ss.respond(f.data, r)
		}
		f.free()
		if err != nil {
			return err
		}
	}
}
