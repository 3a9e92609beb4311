// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/status"
)

// tape is a connection whose client has said all that it will say, and reads
// everything.
type tape struct {
	net.Conn
	said bytes.Reader

	mu    sync.Mutex
	heard bytes.Buffer
}

func (c *tape) Read(b []byte) (int, error) { return c.said.Read(b) }

func (c *tape) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard.Write(b)
}

func (*tape) Close() error                     { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzConn has a client say anything after a proper beginning. What is received is
// never more than what was sent, what is said is HTTP/2, and all ends.
func FuzzConn(f *testing.F) {
	for _, seed := range conversations(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := &tape{}
		begin := append([]byte(http2.ClientPreface), 0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0)
		conn.said.Reset(append(begin, said...))
		s := newServer(t)
		received := 0
		ended := serveOn(t.Context(), conn, Config{Method: testMethod, Open: func(stream *Stream) (Receive, error) {
			if stream.Header("x-refuse") != nil {
				return nil, errors.New("refused")
			}
			echo, err := s.echo(stream)
			return func(m []byte) error {
				received += prefixLen + len(m)
				return echo(m)
			}, err
		}})
		within(t, ended, "the end of the connection")
		s.handlers.Wait() // their streams have ended
		if received > len(said) {
			t.Errorf("%d bytes were received of %d", received, len(said))
		}
		checkSaid(t, &conn.heard)
	})
}

// checkSaid reads what a server has said: frames that are in order, and none but a
// reset on a stream that it has ended.
func checkSaid(t *testing.T, said io.Reader) {
	t.Helper()
	frames := http2.NewFramer(nil, said)
	frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	over := make(map[uint32]bool)
	for {
		f, err := frames.ReadFrame()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("what the server says is not HTTP/2: %v", err)
		}
		h := f.Header()
		ends := h.Type == http2.FrameRSTStream || h.Type == http2.FrameHeaders && h.Flags.Has(http2.FlagHeadersEndStream)
		if over[h.StreamID] && h.Type != http2.FrameRSTStream {
			t.Fatalf("%s on stream %d after its end", h.Type, h.StreamID)
		}
		over[h.StreamID] = ends && h.StreamID != 0 || over[h.StreamID]
	}
}

// conversations are what clients say after the beginning.
func conversations(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	say := func(talk func(c *client)) {
		var said bytes.Buffer
		c := &client{out: http2.NewFramer(&said, nil)}
		c.out.AllowIllegalWrites = true
		c.hpack = hpack.NewEncoder(&c.block)
		talk(c)
		all = append(all, said.Bytes())
	}
	open := func(c *client, stream uint32) {
		if err := c.out.WriteHeaders(http2.HeadersFrameParam{
			StreamID: stream, BlockFragment: c.encode(requestHeader(testMethod)), EndHeaders: true,
		}); err != nil {
			tb.Fatal(err)
		}
	}
	say(func(*client) {})
	say(func(c *client) {
		open(c, 1)
		_ = c.out.WriteData(1, false, prefixed([]byte("a message")))
		_ = c.out.WriteDataPadded(1, true, prefixed(nil), make([]byte, 3))
	})
	say(func(c *client) {
		_ = c.out.WriteSettings(initialWindow(3), http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
		open(c, 1)
		open(c, 3)
		_ = c.out.WriteData(3, false, prefixed(make([]byte, 100)))
		_ = c.out.WriteWindowUpdate(3, 7)
		_ = c.out.WriteSettings(initialWindow(0))
		_ = c.out.WriteRSTStream(1, http2.ErrCodeCancel)
		_ = c.out.WriteWindowUpdate(0, 100)
		_ = c.out.WritePing(false, [8]byte{1})
		_ = c.out.WriteGoAway(0, http2.ErrCodeNo, nil)
		_ = c.out.WritePriority(5, http2.PriorityParam{})
		_ = c.out.WriteData(3, false, []byte{1, 0, 0, 0, 0})
	})
	say(func(c *client) {
		block := c.encode(append(requestHeader("/other"), hpack.HeaderField{Name: "x-refuse", Value: "1"}))
		_ = c.out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:9]})
		_ = c.out.WriteContinuation(1, true, block[9:])
		_ = c.out.WriteData(1, false, make([]byte, 20))
		_ = c.out.WriteWindowUpdate(1, 0)
		_ = c.out.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2})
	})
	return all
}

// FuzzAssembly cuts what a stream brings at arbitrary places: that gives the same
// messages, and the same fault, as the whole does.
func FuzzAssembly(f *testing.F) {
	f.Add(prefixed([]byte("a message")), []byte{1, 0, 3, 9})
	f.Add(append(prefixed(nil), prefixed(pattern(1, 300))...), []byte{4, 2, 200})
	f.Add([]byte{0, 0xff, 0, 0, 0, 1, 2, 3}, []byte{3})
	f.Add([]byte{0, 0, 1, 0, 0, 1, 2, 3}, []byte{5})
	f.Add([]byte{1, 0, 0, 0, 0}, []byte{1})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		var whole, pieces brought
		whole.take(data)
		rest := data
		for i := 0; len(rest) > 0 && pieces.err == nil; i++ {
			n := len(rest)
			if i < len(cuts) {
				n = min(n, int(cuts[i]))
			}
			pieces.take(rest[:n])
			rest = rest[n:]
		}
		if status.Code(whole.err) != status.Code(pieces.err) || whole.between() != pieces.between() {
			t.Fatalf("whole %v %v, in pieces %v %v", whole.err, whole.between(), pieces.err, pieces.between())
		}
		if !bytes.Equal(whole.all, pieces.all) {
			t.Fatal("the messages are not the same")
		}
		if !bytes.HasPrefix(data, whole.all) {
			t.Fatal("the messages are not those that came")
		}
		if room := cap(pieces.message); room > 2*(len(data)+firstRoom+spareRoom) {
			t.Errorf("%d bytes of room after %d came", room, len(data))
		}
	})
}

// brought are the messages of an assembly, each with its prefix again.
type brought struct {
	assembly
	all []byte
	err error
}

func (b *brought) take(data []byte) {
	b.err = b.assembly.take(data, func(message []byte) error {
		b.all = append(b.all, prefixed(message)...)
		return nil
	})
}
