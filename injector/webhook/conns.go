// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// conns are the connections that are open. Anybody in the cluster can open them,
// and each takes memory, whether anything comes over it or not.
type conns struct {
	most   int
	closed func() // called when one had to go

	mu    sync.Mutex
	all   map[net.Conn]*list.Element // nil for those with a request
	quiet list.List                  // those without, first the one that is so for longest
}

func newConns(most int, closed func()) *conns {
	return &conns{most: most, closed: closed, all: map[net.Conn]*list.Element{}}
}

// note is the server's ConnState. A connection that is one too many costs the one
// without a request for longest its place, which may be itself: API servers use
// theirs again and again, and whoever only holds some is the first to go.
func (c *conns) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.all[conn]; at != nil {
		c.quiet.Remove(at)
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.all[conn] = c.quiet.PushBack(conn)
	case http.StateActive:
		c.all[conn] = nil
	default:
		delete(c.all, conn)
	}
	if state == http.StateNew && len(c.all) > c.most {
		c.drop(c.quiet.Front())
	}
}

// drop closes a quiet connection. Whoever serves it notices.
func (c *conns) drop(at *list.Element) {
	conn, _ := c.quiet.Remove(at).(net.Conn)
	delete(c.all, conn)
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn() // TLS would say goodbye first, and wait for who does not listen
	}
	_ = conn.Close()
	c.closed()
}
