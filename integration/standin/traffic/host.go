// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// address is where an endpoint is reached.
type address struct {
	network string // "tcp" or "unix"
	target  string // host:port or path
}

// endpoint is one entry of a load assignment: what may change with each update, around the host, which stays.
type endpoint struct {
	*host
	weight   uint32
	priority uint32
	health   corev3.HealthStatus
}

// usable says whether the assignment's own health allows traffic.
func (e *endpoint) usable() bool {
	switch e.health {
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_TIMEOUT, corev3.HealthStatus_DRAINING:
		return false
	default:
		return true
	}
}

// host is one address of one cluster, with its connections and counts. It outlives updates of the assignment that keep
// the address, so that connections stay pooled.
type host struct {
	cluster  *cluster
	address  address
	hostname string

	cxActive, cxTotal, cxFail                        atomic.Int64
	rqActive, rqTotal, rqSuccess, rqError, rqTimeout atomic.Int64
	outlier                                          outlier

	mu      sync.Mutex
	http1   *http.Transport
	http2   idleTransport
	conns   map[net.Conn]struct{}
	users   int // requests and connections under way
	retired bool
}

func newHost(c *cluster, addr address, hostname string) *host {
	return &host{cluster: c, address: addr, hostname: hostname, conns: map[net.Conn]struct{}{}}
}

// acquire notes that a request or connection uses the host; release ends that.
func (h *host) acquire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users++
}

func (h *host) release() {
	h.mu.Lock()
	h.users--
	empty := h.retired && h.users == 0
	h.mu.Unlock()
	if empty {
		h.closeAll()
	}
}

// retire lets what is under way finish and then closes every connection. A host is retired when it leaves the
// assignment or its cluster is replaced.
func (h *host) retire() {
	h.mu.Lock()
	h.retired = true
	empty := h.users == 0
	h.mu.Unlock()
	if empty {
		h.closeAll()
		return
	}
	h.closeIdle()
}

func (h *host) closeIdle() {
	h.mu.Lock()
	t1, t2 := h.http1, h.http2
	h.mu.Unlock()
	if t1 != nil {
		t1.CloseIdleConnections()
	}
	if t2 != nil {
		t2.CloseIdleConnections()
	}
}

// closeAll ends every connection, used or not.
func (h *host) closeAll() {
	h.closeIdle()
	h.mu.Lock()
	conns := make([]net.Conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // an error means that it was closed already
	}
}

// outlier is the passive health of one host.
type outlier struct {
	mu          sync.Mutex
	consecutive uint32
	ejections   uint32 // ever, which lengthens the next one
	ejected     bool
	timer       *time.Timer
}

// out says whether the host is ejected at present.
func (o *outlier) out() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ejected
}

// stop ends a running ejection's timer.
func (o *outlier) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
}
