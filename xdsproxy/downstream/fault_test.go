// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawFrame writes a frame as it is told, with a payload that may be nonsense.
func (c *client) rawFrame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) {
	c.t.Helper()
	c.did(c.out.WriteRawFrame(kind, flags, stream, payload))
}

// TestFaultsOfConnections breaks HTTP/2 so that the connection has to end.
func TestFaultsOfConnections(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault func(*client)
		code  http2.ErrCode
	}{
		"even stream":              {func(c *client) { c.request(2) }, http2.ErrCodeProtocol},
		"headers on no stream":     {func(c *client) { c.request(0) }, http2.ErrCodeProtocol},
		"data on no stream":        {func(c *client) { c.data(0, false, nil) }, http2.ErrCodeProtocol},
		"data on an idle stream":   {func(c *client) { c.data(3, false, nil) }, http2.ErrCodeProtocol},
		"window of an idle stream": {func(c *client) { c.did(c.out.WriteWindowUpdate(3, 1)) }, http2.ErrCodeProtocol},
		"reset of an idle stream":  {func(c *client) { c.did(c.out.WriteRSTStream(3, 0)) }, http2.ErrCodeProtocol},
		"no more window":           {func(c *client) { c.did(c.out.WriteWindowUpdate(0, 0)) }, http2.ErrCodeProtocol},
		"no more window of an idle stream": {
			func(c *client) { c.did(c.out.WriteWindowUpdate(5, 0)) }, http2.ErrCodeProtocol,
		},
		"push": {func(c *client) {
			c.did(c.out.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}))
		}, http2.ErrCodeProtocol},
		"settings of a stream": {func(c *client) { c.rawFrame(http2.FrameSettings, 0, 1, nil) }, http2.ErrCodeProtocol},
		"settings cut off":     {func(c *client) { c.rawFrame(http2.FrameSettings, 0, 0, make([]byte, 5)) }, http2.ErrCodeFrameSize},
		"too small a frame size": {func(c *client) {
			c.did(c.out.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<14 - 1}))
		}, http2.ErrCodeProtocol},
		"ping cut off":      {func(c *client) { c.rawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }, http2.ErrCodeFrameSize},
		"reset cut off":     {func(c *client) { c.rawFrame(http2.FrameRSTStream, 0, 1, make([]byte, 3)) }, http2.ErrCodeFrameSize},
		"too much padding":  {func(c *client) { c.rawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9}) }, http2.ErrCodeProtocol},
		"too large a frame": {func(c *client) { c.data(1, false, make([]byte, 1<<14+1)) }, http2.ErrCodeFrameSize},
		"too large a frame of headers": {
			func(c *client) { c.rawFrame(http2.FrameHeaders, 0, 3, make([]byte, 1<<14+1)) }, http2.ErrCodeFrameSize,
		},
		"too large an unknown frame": {func(c *client) { c.write([]byte{0x10, 0, 0, 99, 0, 0, 0, 0, 0}) }, http2.ErrCodeFrameSize},
		"broken request": {
			func(c *client) { c.headers(3, false, []hpack.HeaderField{{Name: "Upper", Value: "case"}}) }, http2.ErrCodeProtocol,
		},
		"header larger than all may be": {
			func(c *client) {
				c.longHeaders(3, []hpack.HeaderField{{Name: "a", Value: strings.Repeat("b", 40<<10)}})
			}, http2.ErrCodeCompression,
		},
		"broken header block": {func(c *client) { c.rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, []byte{0xff, 0xff}) }, http2.ErrCodeCompression},
		"headers cut off by another frame": {func(c *client) {
			c.rawFrame(http2.FrameHeaders, 0, 3, nil)
			c.ping("too soon")
		}, http2.ErrCodeProtocol},
		"continuation of nothing": {func(c *client) { c.did(c.out.WriteContinuation(1, true, nil)) }, http2.ErrCodeProtocol},
		"endless headers": {func(c *client) {
			c.rawFrame(http2.FrameHeaders, 0, 3, nil)
			literal := append([]byte{0, 1, 'a', 0x7f, 0x80, 0x40}, make([]byte, 1<<13-1)...) // never indexed, 8 KiB
			for range 16 {
				if c.out.WriteContinuation(3, false, literal) != nil {
					return
				}
			}
		}, http2.ErrCodeProtocol},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.client()
			c.request(1)
			test.fault(c)
			c.expectGoAway(test.code)
			_ = s.next().done()
		})
	}
}

// TestFaultsOfBeginnings has connections that begin with something else.
func TestFaultsOfBeginnings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		begin func(*client)
		told  bool
	}{
		"another preface": {func(c *client) { c.write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) }, true},
		"part of it": {func(c *client) {
			c.write([]byte(http2.ClientPreface[:20]))
			_ = c.conn.(interface{ CloseWrite() error }).CloseWrite()
		}, false},
		"no settings": {func(c *client) {
			c.write([]byte(http2.ClientPreface))
			c.ping("too soon")
		}, true},
		"a fault instead of settings": {func(c *client) {
			c.write([]byte(http2.ClientPreface))
			c.headers(1, false, []hpack.HeaderField{{Name: ":none", Value: ""}})
			c.ping("too soon")
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t).connect()
			test.begin(c)
			if test.told {
				c.expectGoAway(http2.ErrCodeProtocol)
			} else {
				c.expectClosed()
			}
		})
	}
}

// TestFaultsOfStreams breaks HTTP/2 so that only the stream has to end.
func TestFaultsOfStreams(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault func(*client)
		code  http2.ErrCode
	}{
		"no more window": {func(c *client) { c.did(c.out.WriteWindowUpdate(1, 0)) }, http2.ErrCodeProtocol},
		"headers again":  {func(c *client) { c.headers(1, false, nil) }, http2.ErrCodeProtocol},
		"broken trailers": {func(c *client) {
			c.headers(1, true, []hpack.HeaderField{{Name: "Upper", Value: "case"}})
		}, http2.ErrCodeProtocol},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.client()
			c.request(1)
			stream := s.next()
			test.fault(c)
			c.expectReset(1, test.code)
			_ = stream.done()
			c.request(3)
			s.next()
		})
	}
}

// TestFaultsOfRequests asks for what is not served. The connection goes on.
func TestFaultsOfRequests(t *testing.T) {
	t.Parallel()
	with := func(name, value string) []hpack.HeaderField {
		var fields []hpack.HeaderField
		for _, f := range requestHeader(testMethod) {
			if f.Name != name {
				fields = append(fields, f)
			} else if value != "" {
				fields = append(fields, hpack.HeaderField{Name: name, Value: value})
			}
		}
		return fields
	}
	tests := map[string]struct {
		header []hpack.HeaderField
		status string // "": the stream is accepted
	}{
		"get":                     {with(":method", "GET"), "13"},
		"no content type":         {with("content-type", ""), "13"},
		"another content type":    {with("content-type", "text/html"), "13"},
		"one that only begins so": {with("content-type", "application/grpc-web"), "13"},
		"two content types":       {append(requestHeader(testMethod), hpack.HeaderField{Name: "content-type", Value: "application/grpc"}), "13"},
		"another method":          {with(":path", "/a/b"), "12"},
		"with a suffix":           {with("content-type", "application/grpc+proto"), ""},
		"with a parameter":        {with("content-type", "application/grpc;x=y"), ""},
		"as large as may be":      {append(requestHeader(testMethod), hpack.HeaderField{Name: "a", Value: strings.Repeat("b", 15<<10)}), ""},
		"larger than may be":      {append(requestHeader(testMethod), hpack.HeaderField{Name: "a", Value: strings.Repeat("~", 12<<10)}, hpack.HeaderField{Name: "c", Value: strings.Repeat("~", 12<<10)}), "8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.client()
			c.longHeaders(1, test.header)
			if test.status == "" {
				s.next()
				return
			}
			f := c.trailers(1)
			if f.header["grpc-status"] != test.status || f.header[":status"] != "200" || f.header["content-type"] != contentType {
				t.Errorf("trailers %v, want status %s", f.header, test.status)
			}
			c.expectReset(1, http2.ErrCodeNo)
			c.request(3)
			s.next()
		})
	}
}

// longHeaders opens a stream with headers that may need several frames.
func (c *client) longHeaders(stream uint32, fields []hpack.HeaderField) {
	c.t.Helper()
	block := c.encode(fields)
	n := min(len(block), 10_000)
	c.did(c.out.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: block[:n], EndHeaders: n == len(block),
	}))
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), 10_000)
		c.did(c.out.WriteContinuation(stream, n == len(block), block[:n]))
	}
}
