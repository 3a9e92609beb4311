// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"sync"
	"testing"

	"google.golang.org/grpc"
)

// TestEcho sends messages of many sizes to a client of grpc-go and back: around the
// size of a frame, of what is copied, of the windows, and beyond all of them.
func TestEcho(t *testing.T) {
	t.Parallel()
	sizes := []int{
		0, 1, 1 << 10, 0,
		1<<14 - 14, 1<<14 - 6, 1<<14 - 5, 1<<14 - 4, 1<<14 - 1, 1 << 14, 1<<14 + 1, 1<<14 + 14,
		largeFrom - 6, largeFrom - 5, largeFrom - 1, largeFrom, largeFrom + 1,
		defaultWindow - 5, defaultWindow - 4, 1 << 16, window - 5, window, window + 1, 1 << 20, 3, 0,
	}
	for name, listen := range listeners() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startEcho(t, listen(t)).call()
			for i, size := range sizes {
				c.send(pattern(i, size))
			}
			for i, size := range sizes {
				sameBytes(t, "a message", c.receive(), pattern(i, size))
			}
		})
	}
}

func TestEchoOfManySmall(t *testing.T) {
	t.Parallel()
	const n = 4000
	c := startEcho(t, listenUnix(t)).call()
	for i := range n {
		c.send(pattern(i, i%300))
	}
	for i := range n {
		sameBytes(t, "a message", c.receive(), pattern(i, i%300))
	}
}

func TestEchoOfVeryLarge(t *testing.T) {
	t.Parallel()
	c := startEcho(t, listenUnix(t)).call()
	message := pattern(1, 64<<20)
	c.send(message)
	sameBytes(t, "the message", c.receive(), message)
}

// TestEchoOnManyStreams has streams of one connection at work at the same time,
// each with messages that are copied and others that are not.
func TestEchoOnManyStreams(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]grpc.DialOption{
		"with windows as they are": nil,
		"with large windows":       {grpc.WithInitialWindowSize(1 << 20), grpc.WithInitialConnWindowSize(4 << 20)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := startEcho(t, listenUnix(t)).dial(options...)
			var calls sync.WaitGroup
			defer calls.Wait()
			for i := range maxStreams {
				c := newCall(t, conn, testMethod)
				calls.Go(func() { echoBothWays(t, c, i) })
			}
		})
	}
}

// echoBothWays receives while it sends.
func echoBothWays(t *testing.T, c *call, seed int) {
	t.Helper()
	const n = 40
	size := func(i int) int { return (seed*7919 + i*i*613) % (3 * largeFrom) }
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			m := pattern(seed*n+i, size(i))
			if err := c.SendMsg(&m); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		var got []byte
		if err := c.RecvMsg(&got); err != nil {
			t.Errorf("stream %d: %v", seed, err)
			break
		}
		if string(got) != string(pattern(seed*n+i, size(i))) {
			t.Errorf("stream %d: message %d is another one", seed, i)
			break
		}
	}
	if err := <-sent; err != nil {
		t.Errorf("stream %d: %v", seed, err)
	}
}

// TestSendInPieces sends messages whose buffers are many, some of them empty, with
// a field behind them.
func TestSendInPieces(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.call()
	stream := s.next()
	for _, size := range []int{0, 1, 100, largeFrom, 5 * largeFrom} {
		message := pattern(size, size)
		var pieces [][]byte
		for rest := message; len(rest) > 0; {
			n := min(len(rest), len(rest)/3+1)
			pieces = append(pieces, rest[:n], nil)
			rest = rest[n:]
		}
		sent := stream.sending([]byte("behind"), pieces...)
		sameBytes(t, "the message", c.receive(), append(message, "behind"...))
		if err := within(t, sent, "the end of Send"); err != nil {
			t.Fatal(err)
		}
	}
}
