// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"net"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// flood is one step of a client that causes answers and does not read them.
type flood struct {
	step   func(c *client, stream uint32) error
	answer int // bytes that it causes, at least
}

func floods() map[string]flood {
	request := func(end bool, fields ...hpack.HeaderField) func(*client, uint32) error {
		return func(c *client, stream uint32) error {
			return c.out.WriteHeaders(http2.HeadersFrameParam{
				StreamID: stream, BlockFragment: c.encode(fields), EndHeaders: true, EndStream: end,
			})
		}
	}
	taken := request(false, requestHeader(testMethod)...)
	return map[string]flood{
		"pings":         {func(c *client, _ uint32) error { return c.out.WritePing(false, [8]byte{}) }, 17},
		"too many":      {taken, 13},
		"other methods": {request(false, requestHeader("/other")...), 60},
		"empty streams": {request(true, requestHeader(testMethod)...), 50},
		"refused by open": {
			request(false, append(requestHeader(testMethod), hpack.HeaderField{Name: "x-refuse", Value: "1"})...), 60,
		},
		"bad messages": {func(c *client, stream uint32) error {
			if err := taken(c, stream); err != nil {
				return err
			}
			return c.out.WriteData(stream, false, []byte{1, 0, 0, 0, 0})
		}, 60},
	}
}

// TestFloods has clients that cause answers and do not read them lose their
// connections before much waits for them.
func TestFloods(t *testing.T) {
	t.Parallel()
	for name, f := range floods() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, f.run)
		})
	}
}

// run goes over a net.Pipe, which holds nothing: what is not read waits in the outbox.
func (f flood) run(t *testing.T) {
	here, there := net.Pipe()
	ended := serveOn(t.Context(), there, Config{Method: testMethod, Open: func(s *Stream) (Receive, error) {
		if s.Header("x-refuse") != nil {
			return nil, status.Error(codes.PermissionDenied, "")
		}
		return func([]byte) error { return nil }, nil
	}})
	c := newClient(t, here)
	c.hello()
	steps := 0
	for f.step(c, uint32(2*steps+1)) == nil {
		if steps++; steps*f.answer > maxUnread+4*maxWaiting {
			t.Errorf("at least %d bytes of answers wait", steps*f.answer)
			_ = here.Close()
		}
	}
	<-ended
}
