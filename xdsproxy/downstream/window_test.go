// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
)

func initialWindow(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}
}

// TestSendKeepsToWindows opens the windows by small steps, and counts.
func TestSendKeepsToWindows(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"copied": largeFrom - 1, "not copied": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.client(initialWindow(0))
			c.request(1)
			message := pattern(size, size)
			sent := s.next().sending(nil, message)
			rng := rand.New(rand.NewPCG(1, uint64(size)))
			ofStream, ofConn := 0, defaultWindow
			var got []byte
			for want := prefixLen + size; len(got) < want; {
				for range 1 + rng.IntN(3) {
					by := 1 + rng.IntN(20_000)
					ofStream += by
					c.did(c.out.WriteWindowUpdate(1, uint32(by)))
				}
				if rng.IntN(3) == 0 {
					by := 1 + rng.IntN(60_000)
					ofConn += by
					c.did(c.out.WriteWindowUpdate(0, uint32(by)))
				}
				c.collect(1, min(want-len(got), ofStream, ofConn), func(f frame) {
					got = append(got, f.data...)
					ofStream, ofConn = ofStream-len(f.data), ofConn-len(f.data)
					if ofStream < 0 || ofConn < 0 || len(f.data) > defaultMaxFrame {
						t.Fatalf("a frame of %d bytes, windows are then %d and %d", len(f.data), ofStream, ofConn)
					}
				})
			}
			sameBytes(t, "the message", got, prefixed(message))
			if err := within(t, sent, "the end of Send"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSettingsChangeWindows changes the windows' initial size while a Send waits.
func TestSettingsChangeWindows(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"copied": 1000, "not copied": largeFrom} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.client(initialWindow(0))
			c.request(1)
			message := pattern(size, size)
			sent := s.next().sending(nil, message)
			var got []byte
			step := func(want int, by func() error) {
				t.Helper()
				c.did(by())
				before := len(got)
				c.sync()
				got = append(got, c.collect(1, want, nil)...)
				for _, f := range c.sync() {
					got = append(got, f.data...)
				}
				if n := len(got) - before; n != want {
					t.Fatalf("%d bytes came, want %d", n, want)
				}
			}
			settings := func(n uint32) func() error {
				return func() error { return c.out.WriteSettings(initialWindow(n)) }
			}
			update := func(n uint32) func() error {
				return func() error { return c.out.WriteWindowUpdate(1, n) }
			}
			step(0, settings(0))
			step(100, settings(100))
			step(0, settings(40)) // the window is -60
			step(0, update(60))
			step(10, update(10))
			step(0, func() error { return c.out.WriteSettings(initialWindow(10), initialWindow(0)) }) // -40
			step(0, settings(30))
			step(70, settings(110))
			step(prefixLen+size-180, settings(1<<20))
			sameBytes(t, "the message", got, prefixed(message))
			if err := within(t, sent, "the end of Send"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLargerFrames allows frames of more than the least, and compares.
func TestLargerFrames(t *testing.T) {
	t.Parallel()
	const largest = 60_000
	s := start(t)
	c := s.client(initialWindow(1<<20), http2.Setting{ID: http2.SettingMaxFrameSize, Val: largest})
	c.did(c.out.WriteWindowUpdate(0, 1<<20))
	c.request(1)
	message := pattern(1, 150_000)
	s.next().sending(nil, message)
	most := 0
	got := c.collect(1, prefixLen+len(message), func(f frame) { most = max(most, len(f.data)) })
	sameBytes(t, "the message", got, prefixed(message))
	if most != largest {
		t.Errorf("the largest frame has %d bytes, want %d", most, largest)
	}
}

// TestStreamsDoNotHoldEachOther blocks one stream by its window.
func TestStreamsDoNotHoldEachOther(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client(initialWindow(0))
	c.request(1)
	blocked := s.next()
	held := blocked.sending(nil, make([]byte, 1<<20))
	c.request(3)
	free := s.next()
	for _, size := range []int{1, largeFrom} {
		message := pattern(size, size)
		c.did(c.out.WriteWindowUpdate(3, uint32(prefixLen+size)))
		free.sending(nil, message)
		sameBytes(t, "the message", c.collect(3, prefixLen+size, nil), prefixed(message))
	}
	blocked.End(nil)
	if err := within(t, held, "the end of Send"); !errors.Is(err, errStreamEnded) {
		t.Errorf("Send gave %v", err)
	}
}

func TestWindowsBeyondTheirBounds(t *testing.T) {
	t.Parallel()
	t.Run("of the connection", func(t *testing.T) {
		t.Parallel()
		c := start(t).client()
		c.did(c.out.WriteWindowUpdate(0, maxWindow-defaultWindow))
		c.sync()
		c.did(c.out.WriteWindowUpdate(0, 1))
		c.expectGoAway(http2.ErrCodeFlowControl)
	})
	t.Run("of a stream", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		c := s.client()
		c.request(1)
		stream := s.next()
		c.did(c.out.WriteWindowUpdate(1, maxWindow-defaultWindow))
		c.sync()
		c.did(c.out.WriteWindowUpdate(1, 1))
		c.expectReset(1, http2.ErrCodeFlowControl)
		_ = stream.done()
		c.request(3)
		s.next()
	})
	t.Run("by settings", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		c := s.client()
		c.request(1)
		c.did(c.out.WriteWindowUpdate(1, maxWindow-defaultWindow))
		c.did(c.out.WriteSettings(initialWindow(defaultWindow + 1)))
		c.expectGoAway(http2.ErrCodeFlowControl)
	})
	t.Run("in settings", func(t *testing.T) {
		t.Parallel()
		c := start(t).client()
		c.did(c.out.WriteSettings(initialWindow(maxWindow + 1)))
		c.expectGoAway(http2.ErrCodeFlowControl)
	})
}

// TestNothingFollowsTheEnd ends streams while their large messages are being sent.
func TestNothingFollowsTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.client(initialWindow(maxWindow))
	c.did(c.out.WriteWindowUpdate(0, maxWindow-defaultWindow))
	for id := uint32(1); id < 60; id += 2 {
		c.request(id)
		stream := s.next()
		sent := stream.sending(nil, make([]byte, 8<<20))
		c.collect(id, 1000*int(id), nil)
		go stream.End(nil)
		c.trailers(id)
		if err := within(t, sent, "the end of Send"); !errors.Is(err, errStreamEnded) {
			t.Errorf("Send gave %v", err)
		}
		for _, f := range c.sync() {
			if f.stream == id && f.kind != http2.FrameRSTStream {
				t.Fatalf("%s after the end of the stream", f.kind)
			}
		}
	}
}
