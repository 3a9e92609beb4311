// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// slowStream takes messages as gRPC does, and writes nothing until it is told.
type slowStream struct {
	grpc.ServerStream
	ctx    context.Context
	queued []mem.BufferSlice
}

func (s *slowStream) Context() context.Context { return s.ctx }

func (s *slowStream) SendMsg(m any) error {
	data, err := rawCodec{}.Marshal(m)
	s.queued = append(s.queued, data)
	return err
}

// write is done with the messages.
func (s *slowStream) write() {
	for _, data := range s.queued {
		data.Free()
	}
	s.queued = nil
}

// neverAsked is an upstream for a session that has no use for one.
type neverAsked struct{ grpc.ClientConnInterface }

// TestALargeResponseIsWaitedFor: else, while Envoy reads one, the next one waits
// in memory, and the one after it comes in.
func TestALargeResponseIsWaitedFor(t *testing.T) {
	t.Parallel()
	type scene struct {
		stream              *slowStream
		endStream, endServe context.CancelFunc
	}
	tests := map[string]struct {
		size  int
		waits bool
		end   func(scene)
	}{
		"small":                     {size: 64 << 10},
		"large":                     {size: largeFrom, waits: true, end: func(s scene) { s.stream.write() }},
		"large, Envoy goes":         {size: largeFrom, waits: true, end: func(s scene) { s.endStream() }},
		"large, the server is left": {size: largeFrom, waits: true, end: func(s scene) { s.endServe() }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, err := New(Config{PeerPID: func() int { return 0 }, Upstream: neverAsked{}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				var sc scene
				var streamCtx, serveCtx context.Context
				streamCtx, sc.endStream = context.WithCancel(t.Context())
				serveCtx, sc.endServe = context.WithCancel(t.Context())
				defer sc.endStream()
				defer sc.endServe()
				sc.stream = &slowStream{ctx: streamCtx}
				ss := newSession(s, sc.stream, func(error) {})
				ss.ledger.connect(1)
				ss.ledger.request(&frame{}, request{typeURL: clusterType})
				var pool strictPool
				data := pool.arrive(marshal(t, &discoveryv3.DeltaDiscoveryResponse{
					TypeUrl: clusterType, Nonce: "1",
					Resources: []*discoveryv3.Resource{resourceOf("web", "1", strings.Repeat("x", tt.size+(4<<10)))},
				}))
				r, err := parseResponse(data)
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { done <- ss.respond(serveCtx, &frame{data: data}, r) }()
				synctest.Wait()
				if waits := len(done) == 0; waits != tt.waits {
					t.Errorf("waits: %v", waits)
				}
				if tt.waits {
					tt.end(sc)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				sc.stream.write()
				ss.ledger.close()
				if pool.out != 0 {
					t.Errorf("%d buffers are not given back", pool.out)
				}
			})
		})
	}
}

// TestALargeMessageTellsOfItsEnd: the mark adds nothing to it, and goes with the
// last of it.
func TestALargeMessageTellsOfItsEnd(t *testing.T) {
	t.Parallel()
	f := newFrame(make([]byte, 10)).with(make([]byte, 5))
	sent := f.markSent()
	if f.data.Len() != 15 {
		t.Errorf("the mark made the message %d bytes long", f.data.Len())
	}
	data, err := rawCodec{}.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	f.free()
	select {
	case <-sent:
		t.Error("sent before gRPC has written it")
	default:
	}
	r := data.Reader()
	data.Free()
	if _, err := r.Discard(15); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	within(t, sent, "the end of the message")
}
