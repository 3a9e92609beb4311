// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/mem"
)

const (
	// maxWaiting is how many bytes wait to be written before Send does, too.
	maxWaiting = 64 << 10
	// maxUnread is how many bytes of answers to the client's frames may wait. One
	// that asks for more and does not read is no longer served.
	maxUnread = 1 << 20
	// largeFrom is the size in bytes from which a message is written from where it
	// lies. A smaller one is copied, so that many leave with one system call.
	largeFrom = 32 << 10
	// maxBatch bounds what of a large message is written at a time, so that what else
	// there is to say need not wait long.
	maxBatch = 256 << 10

	// https://www.rfc-editor.org/rfc/rfc9113#section-6.9.1 and 6.5.2.
	defaultWindow   = 1<<16 - 1
	maxWindow       = 1<<31 - 1
	defaultMaxFrame = 1 << 14
)

var (
	errStreamEnded  = errors.New("the stream has ended")
	errDoesNotRead  = errors.New("the client asks and does not read the answers")
	errWindowIsFull = errors.New("the client opened a window beyond its bounds")
)

// outbox is what leaves over a connection. Small things wait in buf for its
// goroutine, run, which writes all that there is at once; a large message is
// written by its sender, in turn with run.
type outbox struct {
	conn net.Conn

	mu      sync.Mutex
	changed sync.Cond // of anything that somebody waits for
	err     error     // set: nothing is sent any more
	closing bool      // nothing is added any more
	buf     []byte    // frames that wait to be written
	spare   []byte    // the other buffer, while buf is filled
	urgent  bool      // buf has more than answers
	writing bool      // somebody writes to the connection

	// What the client allows.
	window   int // of the connection
	initial  int // of a new stream
	maxFrame int

	control *http2.Framer // appends to buf
	headers *hpack.Encoder
	block   bytes.Buffer // of the encoder

	// Of the one who is writing a large message.
	heads  []byte
	pieces net.Buffers
}

func newOutbox(conn net.Conn) *outbox {
	o := &outbox{conn: conn, window: defaultWindow, initial: defaultWindow, maxFrame: defaultMaxFrame}
	o.changed.L = &o.mu
	o.control = http2.NewFramer((*appender)(o), nil)
	o.headers = hpack.NewEncoder(&o.block)
	o.headers.SetMaxDynamicTableSizeLimit(0) // what is said is said once
	return o
}

// appender adds to the buffer of an outbox, whose lock the caller holds.
type appender outbox

func (a *appender) Write(b []byte) (int, error) {
	a.buf = append(a.buf, b...)
	return len(b), nil
}

// run writes what waits, until close or an error. Answers, such as that to a ping,
// wait for whoever is ready to run: most often that is what has to be done about a
// message that came with the ping, and only then starts the sender of another one.
func (o *outbox) run() {
	o.mu.Lock()
	defer o.mu.Unlock()
	yields := 0
	for o.err == nil {
		switch {
		case o.writing:
			o.changed.Wait()
		case len(o.buf) > 0 && !o.urgent && yields < 2:
			yields++
			o.mu.Unlock()
			runtime.Gosched()
			o.mu.Lock()
		case len(o.buf) > 0:
			o.urgent = false
			b := o.buf
			o.buf = o.spare[:0]
			o.write(net.Buffers{b})
			o.spare = b[:0]
			if cap(b) > 2*maxWaiting {
				o.spare = nil
			}
		case o.closing:
			return
		default:
			yields = 0
			o.changed.Wait()
		}
	}
}

// write writes pieces to the connection. The caller holds mu, which is given up
// meanwhile, and nobody writes.
func (o *outbox) write(pieces net.Buffers) {
	o.writing = true
	o.mu.Unlock()
	_, err := pieces.WriteTo(o.conn)
	o.mu.Lock()
	o.writing = false
	if err != nil && o.err == nil {
		o.err = err
	}
	o.changed.Broadcast()
}

// close has run write what waits, with what is added as the last of it, and end. The
// connection's deadline bounds that.
func (o *outbox) close(add func(*http2.Framer) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = add(o.control) // to buf
	o.closing = true
	o.changed.Broadcast()
}

// answer adds small frames that the client has caused. It never waits.
func (o *outbox) answer(add func(*http2.Framer) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.canAnswer(); err != nil {
		return err
	}
	o.changed.Broadcast()
	return add(o.control)
}

// ready tells whether there is room for what the client is about to cause.
func (o *outbox) ready() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.canAnswer()
}

// canAnswer needs mu.
func (o *outbox) canAnswer() error {
	if o.err == nil && len(o.buf) > maxUnread {
		return errDoesNotRead
	}
	return o.err
}

// send sends a message on a stream. It returns when the message is written or
// copied, or with the reason why it will not be.
func (o *outbox) send(s *Stream, message mem.BufferSlice, more []byte) error {
	size := message.Len() + len(more)
	prefix := [prefixLen]byte{}
	binary.BigEndian.PutUint32(prefix[1:], uint32(size))
	rest := reading{head: prefix[:], middle: message, tail: more}
	o.mu.Lock()
	defer o.mu.Unlock()
	large := size >= largeFrom
	for left := prefixLen + size; left > 0; {
		n, err := o.await(s, left, large)
		if err != nil {
			return err
		}
		o.begin(s)
		if large {
			n, err = o.writeBatch(s, &rest, left)
		} else {
			o.debit(s, n)
			o.buf = appendFrameHeader(o.buf, n, s.id)
			o.buf = rest.append(o.buf, n)
			o.urgent = true
			o.changed.Broadcast()
		}
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// await waits until something may be sent on a stream and, if it is large, nobody
// writes. It gives how much of that which is left fits into a frame now.
func (o *outbox) await(s *Stream, left int, large bool) (int, error) {
	for {
		switch {
		case o.err != nil:
			return 0, o.broken(s)
		case s.ended || o.closing:
			return 0, errStreamEnded
		}
		if n := o.allowed(s, left); n > 0 && len(o.buf) < maxWaiting && (!large || !o.writing) {
			return n, nil
		}
		o.changed.Wait()
	}
}

func (o *outbox) allowed(s *Stream, left int) int {
	return min(left, o.maxFrame, o.window, s.window)
}

func (o *outbox) debit(s *Stream, n int) {
	o.window -= n
	s.window -= n
}

// begin sends the stream's response headers, if they have not been sent.
func (o *outbox) begin(s *Stream) {
	if s.begun {
		return
	}
	s.begun = true
	o.sendHeaders(s, false, responseHeaders())
}

// sendHeaders adds a header block. It is smaller than the smallest largest frame.
func (o *outbox) sendHeaders(s *Stream, end bool, fields []hpack.HeaderField) {
	o.block.Reset()
	for _, f := range fields {
		_ = o.headers.WriteField(f) // to a bytes.Buffer
	}
	_ = o.control.WriteHeaders(http2.HeadersFrameParam{
		StreamID: s.id, BlockFragment: o.block.Bytes(), EndHeaders: true, EndStream: end,
	})
	o.urgent = true
	o.changed.Broadcast()
}

// writeBatch writes what may be sent of a large message now, after what waits. It
// gives how much of the message it was.
func (o *outbox) writeBatch(s *Stream, rest *reading, left int) (int, error) {
	pending := o.buf
	o.buf = o.spare[:0]
	o.heads, o.pieces = o.heads[:0], append(o.pieces[:0], pending)
	sent := 0
	for sent < maxBatch {
		n := o.allowed(s, left-sent)
		if n <= 0 {
			break
		}
		o.debit(s, n)
		start := len(o.heads)
		o.heads = appendFrameHeader(o.heads, n, s.id) // where it grows, the pieces keep what they refer to
		o.pieces = append(o.pieces, o.heads[start:])
		o.pieces = rest.refer(o.pieces, n)
		sent += n
	}
	o.urgent = false
	o.write(o.pieces)
	clear(o.pieces)
	o.spare = pending[:0]
	if o.err != nil {
		return 0, o.broken(s)
	}
	return sent, nil
}

// broken ends a stream whose sender is the first to know that the connection is
// lost: its context is to tell of that before the error does.
func (o *outbox) broken(s *Stream) error {
	if !s.ended {
		s.finish(errLost)
	}
	return o.err
}

// appendFrameHeader adds that of a DATA frame of n bytes, see
// https://www.rfc-editor.org/rfc/rfc9113#section-4.1.
func appendFrameHeader(b []byte, n int, stream uint32) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameData), 0)
	return binary.BigEndian.AppendUint32(b, stream)
}

// enlarge gives the connection's window more room.
func (o *outbox) enlarge(n int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.window += n
	if o.window > maxWindow {
		return errWindowIsFull
	}
	o.changed.Broadcast()
	return nil
}

// setInitial sets the window of new streams and gives the difference.
func (o *outbox) setInitial(n int) (by int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	by, o.initial = n-o.initial, n
	return by
}

// setMaxFrame sets what the client takes as one frame, of which more than a batch is
// not made use of.
func (o *outbox) setMaxFrame(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.maxFrame = min(n, maxBatch)
}
