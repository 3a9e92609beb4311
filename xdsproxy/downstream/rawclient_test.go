// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// client speaks HTTP/2 frame by frame, the wrong ones, too.
type client struct {
	t     *testing.T
	conn  net.Conn
	out   *http2.Framer
	in    *http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
}

// frame is what the client received, in as far as tests ask.
type frame struct {
	kind   http2.FrameType
	stream uint32
	end    bool              // END_STREAM
	ack    bool              // of SETTINGS and PING
	data   []byte            // of DATA and PING
	header map[string]string // of HEADERS
	code   http2.ErrCode     // of RST_STREAM and GOAWAY
	by     int               // of WINDOW_UPDATE
}

// connect gives a client that has sent nothing.
func (s *server) connect() *client {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), s.addr.Network(), s.addr.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return newClient(s.t, conn)
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Helper()
	c := &client{t: t, conn: conn, out: http2.NewFramer(conn, nil), in: http2.NewFramer(nil, conn)}
	c.out.AllowIllegalWrites = true
	c.in.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.in.SetMaxReadFrameSize(1<<24 - 1)
	c.hpack = hpack.NewEncoder(&c.block)
	return c
}

// client gives one whose connection has begun, with these settings.
func (s *server) client(settings ...http2.Setting) *client {
	s.t.Helper()
	c := s.connect()
	c.hello(settings...)
	return c
}

func (c *client) hello(settings ...http2.Setting) {
	c.t.Helper()
	c.write([]byte(http2.ClientPreface))
	c.did(c.out.WriteSettings(settings...))
	c.expect("the server's settings", func(f frame) bool { return f.kind == http2.FrameSettings && !f.ack })
	c.did(c.out.WriteSettingsAck())
	c.expect("the settings' acknowledgement", func(f frame) bool { return f.kind == http2.FrameSettings && f.ack })
}

func (c *client) did(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) write(b []byte) {
	c.t.Helper()
	_, err := c.conn.Write(b)
	c.did(err)
}

func requestHeader(method string) []hpack.HeaderField {
	return []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method}, {Name: ":authority", Value: "test"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}
}

// request opens a stream of the served method.
func (c *client) request(stream uint32) {
	c.t.Helper()
	c.headers(stream, false, requestHeader(testMethod))
}

func (c *client) headers(stream uint32, end bool, fields []hpack.HeaderField) {
	c.t.Helper()
	c.did(c.out.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.encode(fields), EndHeaders: true, EndStream: end,
	}))
}

func (c *client) encode(fields []hpack.HeaderField) []byte {
	c.block.Reset()
	for _, f := range fields {
		_ = c.hpack.WriteField(f) // to a bytes.Buffer
	}
	return c.block.Bytes()
}

func (c *client) data(stream uint32, end bool, b []byte) {
	c.t.Helper()
	c.did(c.out.WriteData(stream, end, b))
}

// message sends a message that fits into a frame.
func (c *client) message(stream uint32, message []byte) {
	c.t.Helper()
	c.data(stream, false, prefixed(message))
}

func prefixed(message []byte) []byte {
	b := make([]byte, prefixLen, prefixLen+len(message))
	binary.BigEndian.PutUint32(b[1:], uint32(len(message)))
	return append(b, message...)
}

func (c *client) ping(data string) {
	c.t.Helper()
	c.did(c.out.WritePing(false, [8]byte([]byte(data))))
}

// sync waits until the server has taken all that was sent before, and gives what
// it has said until then.
func (c *client) sync() []frame {
	c.t.Helper()
	c.ping("are you?")
	var before []frame
	for {
		f := c.next()
		if f.kind == http2.FramePing && f.ack {
			return before
		}
		before = append(before, f)
	}
}

// read reads the next frame, or the error that ends the connection.
func (c *client) read() (frame, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	got, err := c.in.ReadFrame()
	if err != nil {
		return frame{}, err
	}
	h := got.Header()
	f := frame{kind: h.Type, stream: h.StreamID}
	switch got := got.(type) {
	case *http2.DataFrame:
		f.data, f.end = bytes.Clone(got.Data()), got.StreamEnded()
	case *http2.MetaHeadersFrame:
		f.end, f.header = got.StreamEnded(), make(map[string]string)
		for _, field := range got.Fields {
			f.header[field.Name] = field.Value
		}
	case *http2.SettingsFrame:
		f.ack = got.IsAck()
	case *http2.PingFrame:
		f.ack, f.data = got.IsAck(), bytes.Clone(got.Data[:])
	case *http2.RSTStreamFrame:
		f.code = got.ErrCode
	case *http2.GoAwayFrame:
		f.code = got.ErrCode
	case *http2.WindowUpdateFrame:
		f.by = int(got.Increment)
	}
	return f, nil
}

func (c *client) next() frame {
	c.t.Helper()
	f, err := c.read()
	c.did(err)
	return f
}

// expect skips frames until one is what is expected.
func (c *client) expect(what string, is func(frame) bool) frame {
	c.t.Helper()
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("no sign of %s: %v", what, err)
		}
		if is(f) {
			return f
		}
	}
}

// trailers waits for the end of a stream.
func (c *client) trailers(stream uint32) frame {
	c.t.Helper()
	return c.expect("trailers", func(f frame) bool {
		return f.kind == http2.FrameHeaders && f.stream == stream && f.end
	})
}

func (c *client) expectStatus(stream uint32, code string) {
	c.t.Helper()
	if got := c.trailers(stream).header; got["grpc-status"] != code {
		c.t.Fatalf("trailers %v, want status %s", got, code)
	}
}

func (c *client) expectReset(stream uint32, code http2.ErrCode) {
	c.t.Helper()
	f := c.expect("a reset", func(f frame) bool { return f.kind == http2.FrameRSTStream && f.stream == stream })
	if f.code != code {
		c.t.Fatalf("reset with %s, want %s", f.code, code)
	}
}

// expectGoAway waits for the connection's end, which is to be told with code.
func (c *client) expectGoAway(code http2.ErrCode) {
	c.t.Helper()
	f := c.expect("GOAWAY", func(f frame) bool { return f.kind == http2.FrameGoAway })
	if f.code != code {
		c.t.Fatalf("GOAWAY with %s, want %s", f.code, code)
	}
	c.expectClosed()
}

// expectClosed reads to the connection's end.
func (c *client) expectClosed() {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.t.Fatal("the connection does not end")
			}
			return
		}
	}
}

// collect reads a stream's DATA until n bytes are there. Each frame goes to look
// first, if it is given.
func (c *client) collect(stream uint32, n int, look func(frame)) []byte {
	c.t.Helper()
	var b []byte
	for len(b) < n {
		f := c.next()
		if look != nil {
			look(f)
		}
		if f.kind == http2.FrameData && f.stream == stream {
			b = append(b, f.data...)
		}
	}
	return b
}

// serveOn serves one connection, as Serve does, until the test ends.
func serveOn(ctx context.Context, conn net.Conn, config Config) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serve(ctx, conn, config)
	}()
	return ended
}
