// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/http2"
)

// TestFaultsOfMessages sends what is no message that is taken.
func TestFaultsOfMessages(t *testing.T) {
	t.Parallel()
	prefix := func(flag byte, length uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{flag}, length)
	}
	tests := map[string]struct {
		data   []byte
		end    bool
		status string
	}{
		"compressed":           {prefix(1, 0), false, "12"},
		"flag of another kind": {prefix(0x80, 0), false, "12"},
		"too large":            {prefix(0, maxMessage+1), false, "8"},
		"as large as can be":   {prefix(0, 1<<32-1), false, "8"},
		"ends in the prefix":   {prefix(0, 1)[:3], true, "13"},
		"ends in the message":  {prefix(0, maxMessage), true, "13"},
		"ends after a message": {prefix(0, 0), true, "0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.client()
			c.request(1)
			stream := s.next()
			c.message(1, []byte("before"))
			c.data(1, test.end, test.data)
			c.expectStatus(1, test.status)
			sameBytes(t, "the message before", stream.receive(), []byte("before"))
			_ = stream.done()
			c.request(3)
			s.next()
		})
	}
}

// TestEndByHeaders ends streams by headers: those of the request, and trailers.
func TestEndByHeaders(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client()
	c.headers(1, true, requestHeader(testMethod))
	c.expectStatus(1, "0")
	_ = s.next().done()
	c.request(3)
	c.message(3, []byte("a message"))
	c.data(3, false, []byte{0}) // a part of one
	c.headers(3, true, requestHeader(testMethod)[5:])
	c.expectStatus(3, "13")
	stream := s.next()
	sameBytes(t, "the message", stream.receive(), []byte("a message"))
	c.request(5)
	c.data(5, true, []byte{1, 0, 0, 0, 0}) // a fault in the last of it
	c.expectStatus(5, "12")
	for _, f := range c.sync() {
		if f.kind == http2.FrameRSTStream {
			t.Error("a stream that both sides have ended is reset")
		}
	}
}

// TestMessagesInPieces cuts messages into frames of one byte, and has several in one.
func TestMessagesInPieces(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client()
	c.request(1)
	stream := s.next()
	var all []byte
	for i := range 20 {
		all = append(all, prefixed(pattern(i, i*i))...)
	}
	for i := range all {
		c.data(1, false, all[i:i+1])
	}
	c.data(1, false, all)
	for i := range 40 {
		sameBytes(t, "a message", stream.receive(), pattern(i%20, (i%20)*(i%20)))
	}
}

// TestManners sends what every server of HTTP/2 answers, and what it ignores.
func TestManners(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client()
	c.ping("12345678")
	f := c.next()
	if f.kind != http2.FrameWindowUpdate && (f.kind != http2.FramePing || !f.ack || string(f.data) != "12345678") {
		t.Errorf("got %+v for a ping", f)
	}
	c.sync()
	c.did(c.out.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: 999, Val: 1}))
	if f := c.next(); f.kind != http2.FrameSettings || !f.ack {
		t.Errorf("got %+v for settings", f)
	}
	c.did(c.out.WritePriority(5, http2.PriorityParam{StreamDep: 3, Weight: 7}))
	c.rawFrame(99, 0xff, 7, []byte("unknown"))
	c.did(c.out.WritePing(true, [8]byte{}))
	c.did(c.out.WriteSettingsAck())
	c.did(c.out.WriteGoAway(0, http2.ErrCodeNo, nil))
	if got := c.sync(); len(got) > 0 {
		t.Errorf("got %+v for what is to be ignored", got)
	}
	c.request(1)
	s.next()
}

// TestTooManyStreams opens more than may be open, and again when one has ended.
func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client()
	id := uint32(1)
	var open []*accepted
	for range maxStreams {
		c.request(id)
		open = append(open, s.next())
		id += 2
	}
	c.request(id)
	c.expectReset(id, http2.ErrCodeRefusedStream)
	c.message(id, []byte("on its way"))
	id += 2
	open[3].End(nil) // stream 7
	c.expectReset(7, http2.ErrCodeNo)
	c.request(id)
	sent := s.next().sending(nil, []byte("welcome"))
	sameBytes(t, "the message", c.collect(id, 12, nil), prefixed([]byte("welcome")))
	if err := within(t, sent, "the end of Send"); err != nil {
		t.Error(err)
	}
	c.request(7) // one of before
	for _, f := range c.sync() {
		if f.stream == 7 {
			t.Errorf("%s for a stream that has ended", f.kind)
		}
	}
}
