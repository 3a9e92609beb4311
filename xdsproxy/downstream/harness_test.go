// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
)

const (
	testMethod = "/test.Service/Stream"
	patience   = 2 * time.Minute
)

// server is a served listener. Its streams are driven by hand, or echo.
type server struct {
	t        *testing.T
	addr     net.Addr
	streams  chan *accepted
	cancel   context.CancelFunc
	ended    chan error
	handlers sync.WaitGroup
}

// accepted is a stream as the server's user has it.
type accepted struct {
	*Stream
	t        *testing.T
	messages chan []byte
}

// start serves streams that the test takes from the server, over a Unix socket.
func start(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.serve(listenUnix(t), Config{Method: testMethod, Open: s.open})
	return s
}

// startEcho serves streams that send back each message, in order.
func startEcho(t *testing.T, l net.Listener) *server {
	t.Helper()
	s := newServer(t)
	s.serve(l, Config{Method: testMethod, Open: s.echo})
	return s
}

func startWith(t *testing.T, open func(*Stream) (Receive, error)) *server {
	t.Helper()
	s := newServer(t)
	s.serve(listenUnix(t), Config{Method: testMethod, Open: open})
	return s
}

func newServer(t *testing.T) *server {
	t.Helper()
	return &server{t: t, streams: make(chan *accepted, 1024), ended: make(chan error, 1)}
}

func (s *server) serve(l net.Listener, config Config) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.addr, s.cancel = l.Addr(), cancel
	go func() { s.ended <- Serve(ctx, l, config) }()
	s.t.Cleanup(s.stop)
}

// stop ends the server, if the test has not done it, and all handlers with it.
func (s *server) stop() {
	s.cancel()
	select {
	case err, open := <-s.ended:
		if open && err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	case <-time.After(patience):
		s.t.Error("Serve does not end")
		return
	}
	s.handlers.Wait()
}

// end ends the server and waits for what Serve gives.
func (s *server) end() {
	s.t.Helper()
	s.cancel()
	if err := within(s.t, s.ended, "the end of Serve"); err != nil {
		s.t.Errorf("Serve: %v", err)
	}
	close(s.ended)
}

func (s *server) open(stream *Stream) (Receive, error) {
	a := &accepted{Stream: stream, t: s.t, messages: make(chan []byte, 4096)}
	s.streams <- a
	return func(message []byte) error {
		a.messages <- message
		return nil
	}, nil
}

func (s *server) echo(stream *Stream) (Receive, error) {
	messages := make(chan []byte, 4096)
	s.handlers.Go(func() {
		for {
			select {
			case m := <-messages:
				if stream.Send(buffers(m), nil) != nil {
					return
				}
			case <-stream.Context().Done():
				return
			}
		}
	})
	return func(message []byte) error {
		messages <- message
		return nil
	}, nil
}

// next waits for the next stream that a client opens.
func (s *server) next() *accepted {
	s.t.Helper()
	return within(s.t, s.streams, "a stream at the server")
}

func (a *accepted) receive() []byte {
	a.t.Helper()
	return within(a.t, a.messages, "a message at the server")
}

// sending sends a message, which is in the pieces and, behind them, in more, beside
// the test, and tells what comes of it.
func (a *accepted) sending(more []byte, pieces ...[]byte) <-chan error {
	result := make(chan error, 1)
	go func() { result <- a.Send(buffers(pieces...), more) }()
	return result
}

// done waits for the end of the stream and gives its cause.
func (a *accepted) done() error {
	a.t.Helper()
	within(a.t, a.Context().Done(), "the end of the stream")
	return context.Cause(a.Context())
}

func listenUnix(t *testing.T) net.Listener {
	t.Helper()
	return listen(t, "unix", "@podplane-downstream-"+rand.Text())
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0")
}

func listen(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// listeners are the kinds that are served.
func listeners() map[string]func(*testing.T) net.Listener {
	return map[string]func(*testing.T) net.Listener{"unix": listenUnix, "tcp": listenTCP}
}

func buffers(pieces ...[]byte) mem.BufferSlice {
	var s mem.BufferSlice
	for _, p := range pieces {
		s = append(s, mem.SliceBuffer(p))
	}
	return s
}

// pattern gives bytes of which no two parts are alike, so that one that is lost or
// out of its place is seen.
func pattern(seed, size int) []byte {
	b := make([]byte, size)
	state := uint32(seed)*2654435761 + 1
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return b
}

func within[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no sign of %s after %s", what, patience)
		panic("unreachable")
	}
}

func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes that are not the %d that were sent", what, len(got), len(want))
	}
}
