// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestStatusArrives(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 200)
	tests := map[string]struct {
		err     error
		code    codes.Code
		message string
	}{
		"success":              {nil, codes.OK, ""},
		"without words":        {status.Error(codes.Aborted, ""), codes.Aborted, ""},
		"plain words":          {status.Error(codes.NotFound, "no such thing"), codes.NotFound, "no such thing"},
		"a percent sign":       {status.Error(codes.Internal, "100 % of %41"), codes.Internal, "100 % of %41"},
		"lines":                {status.Error(codes.Internal, "one\r\ntwo\x00\x7f"), codes.Internal, "one\r\ntwo\x00\x7f"},
		"other letters":        {status.Error(codes.Internal, "Größe 世界 🦆"), codes.Internal, "Größe 世界 🦆"},
		"blanks at the ends":   {status.Error(codes.Internal, " a "), codes.Internal, " a "},
		"too many words":       {status.Error(codes.Internal, long), codes.Internal, long[:maxStatus]},
		"too many other words": {status.Error(codes.Internal, strings.Repeat("世", maxStatus)), codes.Internal, strings.Repeat("世", maxStatus/3)},
		"no status":            {errors.New("a fault"), codes.Unknown, "a fault"},
		"the largest code":     {status.Error(codes.Unauthenticated, "x"), codes.Unauthenticated, "x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, begun := range []bool{false, true} {
				s := start(t)
				c := s.call()
				stream := s.next()
				if begun {
					if err := stream.Send(buffers([]byte("first")), nil); err != nil {
						t.Fatal(err)
					}
				}
				stream.End(test.err)
				stream.End(status.Error(codes.DataLoss, "only the first end counts"))
				if got := c.end(); got.Code() != test.code || got.Message() != test.message {
					t.Errorf("got %s %q, want %s %q", got.Code(), got.Message(), test.code, test.message)
				}
			}
		})
	}
}

func TestHalfCloseEndsWell(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.call()
	c.send([]byte("last words"))
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if got := c.end(); got.Code() != codes.OK {
		t.Errorf("status %s", got)
	}
	stream := s.next()
	sameBytes(t, "the message", stream.receive(), []byte("last words"))
	if err := stream.done(); !errors.Is(err, context.Canceled) {
		t.Errorf("cause %v", err)
	}
}

func TestOtherMethod(t *testing.T) {
	t.Parallel()
	s := start(t)
	conn := s.dial()
	for _, method := range []string{"/test.Service/Other", testMethod + "s", "/"} {
		if got := newCall(t, conn, method).end(); got.Code() != codes.Unimplemented {
			t.Errorf("%s: status %s", method, got)
		}
	}
	newCall(t, conn, testMethod)
	s.next()
}

// TestOpenRefuses has Open look at a header and refuse streams by it.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s := startWith(t, func(s *Stream) (Receive, error) {
		if got := s.Header("x-secret"); len(got) != 2 || got[0] != "a" || got[1] != "b" {
			return nil, status.Error(codes.Unauthenticated, "who are you?")
		}
		return func([]byte) error { return status.Error(codes.AlreadyExists, "heard") }, nil
	})
	if got := s.call().end(); got.Code() != codes.Unauthenticated || got.Message() != "who are you?" {
		t.Errorf("status %s", got)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-secret", "a", "x-secret", "b")
	c := newCallWith(ctx, t, s.dial(), testMethod)
	c.send([]byte("hello"))
	if got := c.end(); got.Code() != codes.AlreadyExists {
		t.Errorf("status %s", got)
	}
}

// endings are the ways in which a stream ends, and the code of what its context
// tells of them; Unknown where it is no status.
func endings() map[string]struct {
	end  func(*server, *client, *accepted)
	code codes.Code
} {
	return map[string]struct {
		end  func(*server, *client, *accepted)
		code codes.Code
	}{
		"reset":           {func(_ *server, c *client, _ *accepted) { c.did(c.out.WriteRSTStream(1, http2.ErrCodeCancel)) }, codes.Canceled},
		"half-close":      {func(_ *server, c *client, _ *accepted) { c.data(1, true, nil) }, codes.Unknown},
		"trailers":        {func(_ *server, c *client, _ *accepted) { c.headers(1, true, nil) }, codes.Unknown},
		"connection lost": {func(_ *server, c *client, _ *accepted) { _ = c.conn.Close() }, codes.Unavailable},
		"broken rules":    {func(_ *server, c *client, _ *accepted) { c.request(2) }, codes.Unavailable},
		"broken stream":   {func(_ *server, c *client, _ *accepted) { c.did(c.out.WriteWindowUpdate(1, 0)) }, codes.Internal},
		"end":             {func(_ *server, _ *client, a *accepted) { a.End(status.Error(codes.DataLoss, "")) }, codes.DataLoss},
		"end well":        {func(_ *server, _ *client, a *accepted) { a.End(nil) }, codes.Unknown},
		"end of serve":    {func(s *server, _ *client, _ *accepted) { s.end() }, codes.Unknown},
	}
}

// TestEndIsTold ends a stream in all ways, while a Send waits for the client, and
// while none does.
func TestEndIsTold(t *testing.T) {
	t.Parallel()
	for name, ending := range endings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{0, largeFrom - 1, 1 << 20} {
				s := start(t)
				c := s.client(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
				c.request(1)
				stream := s.next()
				var sent <-chan error
				if size > 0 {
					sent = stream.sending(nil, make([]byte, size))
					c.collect(1, 1000, nil)
				}
				ending.end(s, c, stream)
				if err := stream.done(); status.Code(err) != ending.code {
					t.Errorf("cause %v, want %s", err, ending.code)
				}
				if sent != nil && within(t, sent, "the end of Send") == nil {
					t.Error("a Send that was cut off has no error")
				}
				if stream.Send(nil, nil) == nil {
					t.Error("Send after the end has no error")
				}
				stream.End(nil)
			}
		})
	}
}

// TestServeEndsWithAll ends Serve while streams are open and idle, and while they
// are blocked by the windows and by the socket.
func TestServeEndsWithAll(t *testing.T) {
	t.Parallel()
	s := start(t)
	wide := http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow}
	var sent []<-chan error
	for range 3 {
		c := s.client(wide)
		c.did(c.out.WriteWindowUpdate(0, maxWindow-defaultWindow))
		for id := uint32(1); id < 8; id += 2 {
			c.request(id)
			sent = append(sent, s.next().sending(nil, make([]byte, 4<<20)))
		}
		s.client()
		s.connect()
	}
	s.end()
	for _, result := range sent {
		if within(t, result, "the end of Send") == nil {
			t.Error("a Send that nobody reads has no error")
		}
	}
}

// TestLastWordsArrive has a stream end right before its connection.
func TestLastWordsArrive(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client()
	c.request(1)
	stream := s.next()
	if err := stream.Send(buffers([]byte("bye")), nil); err != nil {
		t.Fatal(err)
	}
	stream.End(status.Error(codes.OutOfRange, ""))
	c.request(2) // a fault
	sameBytes(t, "the message", c.collect(1, 8, nil), prefixed([]byte("bye")))
	c.expectStatus(1, "11")
	c.expectGoAway(http2.ErrCodeProtocol)
}
