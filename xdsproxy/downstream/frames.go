// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"context"
	"errors"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// take acts on a frame. An http2.StreamError ends the frame's stream, any other
// error the connection.
func (c *conn) take(ctx context.Context, f http2.Frame) error {
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.data(f)
	case *http2.MetaHeadersFrame:
		return c.headers(ctx, f)
	case *http2.WindowUpdateFrame:
		return c.enlarge(f.StreamID, int(f.Increment))
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return c.out.answer(func(out *http2.Framer) error { return out.WritePing(true, f.Data) })
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.RSTStreamFrame:
		return c.streamReset(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	default: // GOAWAY, PRIORITY, and what is unknown
		return nil
	}
}

func (c *conn) data(f *http2.DataFrame) error {
	n := int(f.Length)
	switch {
	case f.StreamID > c.last:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case !c.in.take(n):
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s := c.streams[f.StreamID]
	if s == nil || s.isEnded() { // what was on its way when the stream ended
		delete(c.streams, f.StreamID)
		return c.giveBack(nil)
	}
	if !s.in.take(n) {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	err := s.assembly.take(f.Data(), s.receive)
	switch {
	case f.StreamEnded():
		s.halfClose(err)
	case err != nil:
		s.End(err)
		delete(c.streams, s.id)
	}
	return c.giveBack(s)
}

// giveBack tells the client that it may send more on the connection and on a stream,
// if it is not nil and has not ended.
func (c *conn) giveBack(s *Stream) error {
	ofConn, ofStream := c.in.more(), 0
	if s != nil {
		ofStream = s.in.more()
	}
	if ofConn == 0 && ofStream == 0 {
		return nil
	}
	return c.out.answer(func(out *http2.Framer) error {
		var err error
		if ofConn > 0 {
			err = out.WriteWindowUpdate(0, uint32(ofConn))
		}
		if ofStream > 0 && !s.ended {
			err = errors.Join(err, out.WriteWindowUpdate(s.id, uint32(ofStream)))
		}
		return err
	})
}

func (c *conn) headers(ctx context.Context, f *http2.MetaHeadersFrame) error {
	if s := c.streams[f.StreamID]; s != nil {
		return c.trailers(s, f)
	}
	switch {
	case f.StreamID%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case f.StreamID <= c.last:
		return nil // what was on its way when the stream ended
	}
	if err := c.out.ready(); err != nil { // for what says that the stream has ended
		return err
	}
	c.last = f.StreamID
	c.forgetEnded()
	if len(c.streams) >= maxStreams {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeRefusedStream}
	}
	return c.open(ctx, f)
}

func (c *conn) trailers(s *Stream, f *http2.MetaHeadersFrame) error {
	if !f.StreamEnded() {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	s.halfClose(nil)
	return nil
}

// forgetEnded takes away the streams that others have ended meanwhile.
func (c *conn) forgetEnded() {
	for id, s := range c.streams {
		if s.isEnded() {
			delete(c.streams, id)
		}
	}
}

func (c *conn) open(ctx context.Context, f *http2.MetaHeadersFrame) error {
	s := newStream(ctx, f.StreamID, c.out)
	s.halfClosed = f.StreamEnded()
	err := check(f, c.config.Method)
	if err == nil {
		s.header = f.RegularFields()
		s.receive, err = c.config.Open(s)
	}
	if err != nil {
		s.End(err)
		return nil
	}
	if len(c.streams) == 0 { // it has said who it is
		if err := c.net.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
	}
	c.streams[s.id] = s
	if s.halfClosed {
		s.halfClose(nil)
	}
	return nil
}

// settings takes the client's settings and says so.
func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(set http2.Setting) error {
		if err := set.Valid(); err != nil {
			return err
		}
		switch set.ID {
		case http2.SettingInitialWindowSize:
			return c.resize(int(set.Val))
		case http2.SettingMaxFrameSize:
			c.out.setMaxFrame(int(set.Val))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.out.answer(func(out *http2.Framer) error { return out.WriteSettingsAck() })
}

// resize changes the windows of all streams, the open ones by the difference:
// https://www.rfc-editor.org/rfc/rfc9113#section-6.9.2.
func (c *conn) resize(initial int) error {
	by := c.out.setInitial(initial)
	for _, s := range c.streams {
		if err := s.enlarge(by); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) enlarge(stream uint32, by int) error {
	if stream == 0 {
		return c.out.enlarge(by)
	}
	if stream > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	s := c.streams[stream]
	if s == nil {
		return nil // it has ended
	}
	if s.enlarge(by) != nil {
		return http2.StreamError{StreamID: stream, Code: http2.ErrCodeFlowControl}
	}
	return nil
}

// streamReset ends a stream as the client wishes.
func (c *conn) streamReset(f *http2.RSTStreamFrame) error {
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if s := c.streams[f.StreamID]; s != nil {
		s.drop(status.Errorf(codes.Canceled, "the client has ended the stream: %s", f.ErrCode))
		delete(c.streams, s.id)
	}
	return nil
}

// reset ends a stream by a fault of the client. A request that is malformed opens
// none, and costs the connection: https://www.rfc-editor.org/rfc/rfc9113#section-5.4.
func (c *conn) reset(broken http2.StreamError) error {
	if broken.StreamID > c.last {
		return http2.ConnectionError(broken.Code)
	}
	if s := c.streams[broken.StreamID]; s != nil {
		s.drop(status.Errorf(codes.Internal, "the client has broken HTTP/2: %s", broken.Code))
		delete(c.streams, s.id)
	}
	return c.out.answer(func(out *http2.Framer) error { return out.WriteRSTStream(broken.StreamID, broken.Code) })
}
