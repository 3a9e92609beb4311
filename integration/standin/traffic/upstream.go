// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"podplane/integration/standin/stats"
)

// errOverflow is a circuit breaker that is open.
var errOverflow = errors.New("overflow")

// upstreamIdle is how long a pooled connection may be unused: Envoy's default idle_timeout.
const upstreamIdle = time.Hour

// upstreamConn is a connection to a host. It counts its bytes and is counted until it closes.
type upstreamConn struct {
	net.Conn
	host   *host
	rx, tx *stats.Counter
	once   sync.Once
}

// Read implements net.Conn.
func (c *upstreamConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.rx.Add(uint64(n))
	return n, err
}

// Write implements net.Conn.
func (c *upstreamConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.tx.Add(uint64(n))
	return n, err
}

// CloseWrite passes an end of data on.
func (c *upstreamConn) CloseWrite() error { return closeWrite(c.Conn) }

// Close implements net.Conn.
func (c *upstreamConn) Close() error {
	c.once.Do(func() {
		h := c.host
		h.mu.Lock()
		delete(h.conns, c)
		h.mu.Unlock()
		h.cxActive.Add(-1)
		h.cluster.scope.Gauge("upstream_cx_active").Dec()
		h.cluster.scope.Counter("upstream_cx_destroy").Inc()
	})
	return c.Conn.Close()
}

// closeWrite half-closes any of our connections.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// connectError is a connection that did not come about, with what Envoy says of it.
type connectError struct {
	timeout bool
	err     error
}

// Error implements error.
func (e *connectError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *connectError) Unwrap() error { return e.err }

// dial connects to the host within the cluster's connect timeout, TLS included. alpn is offered where the cluster's
// context names no protocols of its own.
func (h *host) dial(ctx context.Context, alpn []string) (net.Conn, error) {
	c := h.cluster
	if c.scope.Gauge("upstream_cx_active").Value() >= int64(c.breaker.connections) {
		c.scope.Counter("upstream_cx_overflow").Inc()
		return nil, errOverflow
	}
	ctx, cancel := context.WithTimeout(ctx, c.connectTimeout)
	defer cancel()
	c.scope.Counter("upstream_cx_total").Inc()
	h.cxTotal.Add(1)
	begun := time.Now()
	raw, err := (&net.Dialer{}).DialContext(ctx, h.address.network, h.address.target)
	if err == nil {
		raw, err = h.secure(ctx, raw, alpn)
	}
	if err != nil {
		h.cxFail.Add(1)
		h.report(true)
		c.scope.Counter("upstream_cx_connect_fail").Inc()
		late := errors.Is(ctx.Err(), context.DeadlineExceeded)
		if late {
			c.scope.Counter("upstream_cx_connect_timeout").Inc()
		}
		return nil, &connectError{timeout: late, err: err}
	}
	c.scope.Histogram("upstream_cx_connect_ms").Record(float64(time.Since(begun).Milliseconds()))
	conn := &upstreamConn{
		Conn: raw, host: h,
		rx: c.scope.Counter("upstream_cx_rx_bytes_total"), tx: c.scope.Counter("upstream_cx_tx_bytes_total"),
	}
	h.cxActive.Add(1)
	c.scope.Gauge("upstream_cx_active").Inc()
	h.mu.Lock()
	h.conns[conn] = struct{}{}
	h.mu.Unlock()
	if h.cluster.life.Err() != nil {
		return nil, errors.Join(&connectError{err: net.ErrClosed}, conn.Close())
	}
	return conn, nil
}

// secure does the TLS handshake, if the cluster has TLS.
func (h *host) secure(ctx context.Context, raw net.Conn, alpn []string) (net.Conn, error) {
	t := h.cluster.tls
	if t == nil {
		return raw, nil
	}
	cfg := t.config
	if len(cfg.NextProtos) == 0 && len(alpn) > 0 {
		cfg = cfg.Clone()
		cfg.NextProtos = alpn
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		sslStats{h.cluster.scope}.failure(err, false)
		return nil, errors.Join(fmt.Errorf("TLS_error: %w", err), raw.Close())
	}
	sslStats{h.cluster.scope}.handshake(conn.ConnectionState())
	return conn, nil
}

// transport returns the host's pool for one protocol, made on first use.
func (h *host) transport(v2 bool) http.RoundTripper {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v2 {
		if h.http2 == nil {
			h.http2 = h.newHTTP2()
		}
		return h.http2
	}
	if h.http1 == nil {
		h.http1 = h.newHTTP1()
	}
	return h.http1
}

func (h *host) newHTTP1() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := h.dial(ctx, []string{"http/1.1"})
			if err == nil {
				h.cluster.scope.Counter("upstream_cx_http1_total").Inc()
			}
			return conn, err
		},
		DisableCompression: true, MaxIdleConnsPerHost: 1024, IdleConnTimeout: upstreamIdle,
	}
}
