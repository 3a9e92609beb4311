// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// dialled is a connection of its own.
type dialled struct {
	*tls.Conn
	from *bufio.Reader
}

func dial(t *testing.T, s *Server) *dialled {
	t.Helper()
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	c, err := dialer.DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &dialled{Conn: c.(*tls.Conn), from: bufio.NewReader(c)}
}

// ask posts a review and gives the status; 0 if there is none.
func (d *dialled) ask(t *testing.T) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x"+Path, bytes.NewReader(review(nil)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if request.Write(d) != nil {
		return 0
	}
	response, err := http.ReadResponse(d.from, request)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

// over tells whether the server closed the connection.
func (d *dialled) over() bool {
	_, err := d.from.ReadByte()
	timeout, ok := err.(interface{ Timeout() bool })
	return err != nil && (!ok || !timeout.Timeout())
}

// await waits until so many connections are open.
func (s *Server) await(t *testing.T, want int) {
	t.Helper()
	limit, tick := time.After(30*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s.conns.mu.Lock()
		all, quiet := len(s.conns.all), s.conns.quiet.Len()
		s.conns.mu.Unlock()
		if all == want && quiet <= all {
			return
		}
		select {
		case <-limit:
			t.Fatalf("%d connections, %d of them quiet, not %d", all, quiet, want)
		case <-tick.C:
		}
	}
}

// TestTooManyConnections: who only holds connections loses them to who comes, and
// who uses theirs keeps them.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s, _ := newServer(t, Config{Connections: 3, Mutate: func(context.Context, Request) (Decision, error) { return Decision{}, nil }})
	s.log = hclog.New(&hclog.LoggerOptions{Output: &out}) // writes with a lock
	stop := running(t, s)
	used := dial(t, s)
	if status := used.ask(t); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	first, second := dial(t, s), dial(t, s)
	if status := used.ask(t); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	third := dial(t, s)
	if !first.over() {
		t.Error("the one that was silent for longest is there")
	}
	for _, d := range []*dialled{used, second, third} {
		if status := d.ask(t); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	// What ends makes room.
	_ = second.Close()
	s.await(t, 2)
	for _, d := range []*dialled{dial(t, s), used, third} {
		if status := d.ask(t); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	_ = stop()
	s.await(t, 0)
	if n := strings.Count(out.String(), "too many connections"); n != 1 {
		t.Errorf("%d lines: %s", n, out.String())
	}
}

// TestConnectionsInUse are not closed for others.
func TestConnectionsInUse(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	s, _ := newServer(t, Config{Connections: 1, Mutate: func(context.Context, Request) (Decision, error) {
		close(asked)
		<-answer
		return Decision{}, nil
	}})
	running(t, s)
	busy := dial(t, s)
	var wg sync.WaitGroup
	wg.Go(func() {
		if status := busy.ask(t); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	})
	<-asked
	c, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		t.Error("there is room for one more")
		_ = c.Close()
	}
	close(answer)
	wg.Wait()
}
