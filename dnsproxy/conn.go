// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxConns bounds the TCP connections, and with them the descriptors.
	maxConns = 512
	// maxPipelined bounds the queries under way of one connection; beyond it,
	// the rest waits in the socket.
	maxPipelined = 128
	// idleTimeout is how long a connection may ask nothing; a few seconds,
	// as RFC 7766, section 6.2.3, advises.
	idleTimeout = 10 * time.Second
	// frameTimeout is how long a query or an answer that has begun may take.
	frameTimeout = 5 * time.Second
)

// conn is a client's TCP connection.
type conn struct {
	*net.TCPConn
	writing  sync.Mutex
	pipeline chan struct{} // holds one value for each query under way
	lastUsed time.Time     // guarded by connSet
	failed   prometheus.Counter
}

func (c *conn) answer(m message, _ *outbox) {
	if err := c.send(m); err != nil {
		c.failed.Inc()
	}
}

func (c *conn) done() { <-c.pipeline }

// send writes an answer, as soon as there is one, in any order (RFC 7766,
// section 7). A client that does not read loses its connection.
func (c *conn) send(m message) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(frameTimeout))
	err := writeFrame(c, m)
	if err != nil {
		_ = c.Close()
	}
	return err
}

// receive reads the next query.
func (c *conn) receive() (message, error) {
	_ = c.SetReadDeadline(time.Now().Add(idleTimeout))
	return readFrame(&startNotice{c: c})
}

// startNotice reads from a connection, and from the first byte on gives the
// rest of a query less time.
type startNotice struct {
	c       *conn
	started bool
}

func (r *startNotice) Read(p []byte) (int, error) {
	n, err := r.c.Read(p)
	if n > 0 && !r.started {
		r.started = true
		_ = r.c.SetReadDeadline(time.Now().Add(frameTimeout))
	}
	return n, err
}

// connSet is the open connections.
type connSet struct {
	mu   sync.Mutex
	open map[*conn]struct{}
}

// add takes c in, and for that closes another one if there are too many. It
// gives false if all of them wait for answers.
func (s *connSet) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxConns && !s.evictLocked() {
		return false
	}
	c.lastUsed = time.Now()
	s.open[c] = struct{}{}
	return true
}

// evict closes the connection that has asked nothing for longest, if there is
// one that waits for no answer, as a server short of resources may (RFC 7766,
// section 6.2.3).
func (s *connSet) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evictLocked()
}

func (s *connSet) evictLocked() bool {
	var oldest *conn
	for c := range s.open {
		if len(c.pipeline) == 0 && (oldest == nil || c.lastUsed.Before(oldest.lastUsed)) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	_ = oldest.Close()
	delete(s.open, oldest)
	return true
}

func (s *connSet) used(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.lastUsed = time.Now()
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// stopReading ends the reading of all connections, whatever their deadlines,
// and lets answers out.
func (s *connSet) stopReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.CloseRead()
	}
}

func (s *connSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}
