// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes listens for connections in memory, so that their time is a bubble's.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	end   func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.ended) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) Close() error {
	p.end()
	return nil
}

// silent opens a connection to a server in the bubble and leaves it unused for a
// time. What comes over it afterwards is what the function that it returns says:
// the status, and how long it took until the connection was closed.
func silent(t *testing.T, unused time.Duration) (c *tls.Conn, answer func() (status int, took time.Duration)) {
	t.Helper()
	s, _ := newServer(t, Config{Mutate: func(context.Context, Request) (Decision, error) { return Decision{}, nil }})
	_ = s.listener.Close()
	listener := newPipes()
	s.listener = listener
	running(t, s)
	here, there := net.Pipe()
	listener.conns <- there
	c = tls.Client(here, &tls.Config{InsecureSkipVerify: true})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	type result struct {
		status int
		at     time.Time
	}
	got := make(chan result, 1)
	go func() {
		var r result
		from := bufio.NewReader(c)
		if response, err := http.ReadResponse(from, nil); err == nil {
			r.status = response.StatusCode
			_ = response.Body.Close()
		}
		_, _ = io.Copy(io.Discard, from)
		r.at = time.Now()
		_ = c.Close()
		got <- r
	}()
	time.Sleep(unused)
	start := time.Now()
	return c, func() (int, time.Duration) {
		r := <-got
		return r.status, r.at.Sub(start)
	}
}

// TestUnusedConnection is one that an API server opened for a review which then
// went over another: it uses it later, for as long as it keeps idle ones.
func TestUnusedConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, answer := silent(t, 90*time.Second)
		body := review(nil)
		const headers = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
		_, err := fmt.Fprintf(c, headers+"%s", Path, len(body), body)
		if status, _ := answer(); err != nil || status != http.StatusOK {
			t.Errorf("status %d, %v", status, err)
		}
	})
}

// TestBodyThatDoesNotCome does not keep a connection, whatever is asked for and
// however long the connection was there before.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{Path: http.StatusBadRequest, "/": http.StatusNotFound} {
		synctest.Test(t, func(t *testing.T) {
			c, answer := silent(t, 90*time.Second)
			_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n", path)
			status, took := answer()
			if err != nil || status != want || took < bodyTimeout || took > bodyTimeout+time.Second {
				t.Errorf("%s: status %d after %s, %v", path, status, took, err)
			}
		})
	}
}

// TestSilence ends: no connection is kept for nothing.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, answer := silent(t, 0)
		if status, took := answer(); status != 0 || took > idleTimeout {
			t.Errorf("status %d after %s", status, took)
		}
	})
}
