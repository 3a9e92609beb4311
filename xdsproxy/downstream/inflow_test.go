// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestInflow books what comes: never more than the window, and all is given back.
func TestInflow(t *testing.T) {
	t.Parallel()
	in := newInflow()
	if in.take(window+1) || !in.take(window) || in.take(1) {
		t.Error("the window is not what is left")
	}
	if got := in.more(); got != window {
		t.Errorf("gave %d back, want %d", got, window)
	}
	in.take(window/2 - 1)
	if got := in.more(); got != 0 {
		t.Errorf("gave %d back before it is worth a frame", got)
	}
	in.take(1)
	if got := in.more(); got != window/2 {
		t.Errorf("gave %d back, want %d", got, window/2)
	}
}

// windows are what the client may send, as the server has told it.
type windows struct{ stream, conn int }

func (w *windows) note(f frame) {
	switch {
	case f.kind != http2.FrameWindowUpdate:
	case f.stream == 0:
		w.conn += f.by
	default:
		w.stream += f.by
	}
}

// TestWindowsAreGivenBack sends many times what a window holds, and keeps to it. The
// padding counts, too.
func TestWindowsAreGivenBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client()
	c.request(1)
	stream := s.next()
	w := windows{stream: window, conn: window}
	message := pattern(1, 8*window)
	for rest := prefixed(message); len(rest) > 0; {
		n := min(len(rest), 10_000)
		for w.stream < n+101 || w.conn < n+101 {
			w.note(c.next())
		}
		c.did(c.out.WriteDataPadded(1, false, rest[:n], make([]byte, 100)))
		w.stream, w.conn, rest = w.stream-n-101, w.conn-n-101, rest[n:]
	}
	sameBytes(t, "the message", stream.receive(), message)
}

// TestLateDataIsIgnored sends on streams that have ended, for whatever reason, more
// than the connection's window.
func TestLateDataIsIgnored(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*client, *accepted){
		"ended":         func(_ *client, a *accepted) { a.End(nil) },
		"by its status": func(c *client, _ *accepted) { c.message(1, []byte("bad")) },
		"refused":       func(*client, *accepted) {},
		"reset":         func(c *client, _ *accepted) { c.did(c.out.WriteRSTStream(1, http2.ErrCodeCancel)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opened := make(chan *accepted, 1)
			s := startWith(t, func(s *Stream) (Receive, error) {
				opened <- &accepted{Stream: s, t: t}
				if name == "refused" {
					return nil, status.Error(codes.PermissionDenied, "")
				}
				return func(m []byte) error {
					if string(m) != "bad" {
						t.Error("a message came after the end")
					}
					return status.Error(codes.InvalidArgument, "")
				}, nil
			})
			c := s.client()
			c.request(1)
			stream := within(t, opened, "the stream")
			end(c, stream)
			_ = stream.done()
			c.sync()
			for range 2 {
				conn := 0
				for n := 0; n < window; n += 1 << 14 {
					c.data(1, false, make([]byte, 1<<14))
				}
				for conn < window {
					if f := c.next(); f.kind == http2.FrameWindowUpdate && f.stream == 0 {
						conn += f.by
					}
				}
			}
			c.headers(1, true, nil)
			c.did(c.out.WriteWindowUpdate(1, 1))
			c.did(c.out.WriteRSTStream(1, http2.ErrCodeCancel))
			for _, f := range c.sync() {
				if f.stream == 1 {
					t.Errorf("%s for a stream that has ended", f.kind)
				}
			}
		})
	}
}

// TestNoWindowForAnEndedStream has the message that would give the stream's window
// back end it.
func TestNoWindowForAnEndedStream(t *testing.T) {
	t.Parallel()
	s := startWith(t, func(*Stream) (Receive, error) {
		return func([]byte) error { return status.Error(codes.InvalidArgument, "") }, nil
	})
	c := s.client()
	c.request(1)
	for rest := prefixed(make([]byte, window/2)); len(rest) > 0; rest = rest[min(len(rest), 1<<14):] {
		c.data(1, false, rest[:min(len(rest), 1<<14)])
	}
	c.expectStatus(1, "3")
	c.expectReset(1, http2.ErrCodeNo)
	for _, f := range c.sync() {
		if f.stream == 1 {
			t.Errorf("%s for a stream that has ended", f.kind)
		}
	}
}
