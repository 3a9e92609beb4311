// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"context"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// Stream is one stream, from its accepted headers to its end.
type Stream struct {
	id     uint32
	out    *outbox
	ctx    context.Context //nolint:containedctx // it is the life of the stream, as in gRPC
	cancel context.CancelCauseFunc
	header []hpack.HeaderField

	// Of the goroutine that reads the connection.
	in       inflow
	assembly assembly
	receive  Receive

	// Guarded by out.mu.
	window     int  // what may be sent
	begun      bool // the response headers are sent
	halfClosed bool // the client sends no more
	ended      bool
}

// newStream begins a stream, whose life ends with ctx's at the latest.
func newStream(ctx context.Context, id uint32, out *outbox) *Stream {
	s := &Stream{id: id, out: out, in: newInflow()}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	out.mu.Lock()
	defer out.mu.Unlock()
	s.window = out.initial
	return s
}

// Context is done when the stream has ended; its cause says why.
func (s *Stream) Context() context.Context { return s.ctx }

// Header gives the values of a request header, whose name is in lower case.
func (s *Stream) Header(name string) []string {
	var values []string
	for _, h := range s.header {
		if h.Name == name {
			values = append(values, h.Value)
		}
	}
	return values
}

// Send sends a message, which is in the buffers and, behind them, in more. When it
// returns, neither is needed any more; they stay the caller's. It waits while the
// client does not read, and gives an error when the stream has ended. There must be
// one Send at a time.
func (s *Stream) Send(message mem.BufferSlice, more []byte) error {
	return s.out.send(s, message, more)
}

// End ends the stream with the gRPC status of err; nil is a success. Only the
// first end counts.
func (s *Stream) End(err error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if s.ended {
		return
	}
	fields := trailers(err)
	if !s.begun {
		fields = append(responseHeaders(), fields...)
	}
	s.out.sendHeaders(s, true, fields)
	if !s.halfClosed {
		_ = s.out.control.WriteRSTStream(s.id, http2.ErrCodeNo)
	}
	s.finish(err)
}

// drop ends the stream without a word to the client, who has ended it.
func (s *Stream) drop(err error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if !s.ended {
		s.finish(err)
	}
}

// finish needs out.mu.
func (s *Stream) finish(err error) {
	if err == nil {
		err = context.Canceled
	}
	s.ended = true
	s.cancel(err)
	s.out.changed.Broadcast()
}

// halfClose ends the stream because the client sends no more, or with the error that
// is found in what it has sent last.
func (s *Stream) halfClose(err error) {
	s.out.mu.Lock()
	s.halfClosed = true
	s.out.mu.Unlock()
	if err == nil && !s.assembly.between() {
		err = status.Error(codes.Internal, "the stream ends in the middle of a message")
	}
	s.End(err)
}

func (s *Stream) isEnded() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.ended
}

// enlarge gives the stream's window more room, or less.
func (s *Stream) enlarge(n int) error {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.window += n
	if s.window > maxWindow {
		return errWindowIsFull
	}
	s.out.changed.Broadcast()
	return nil
}
