// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// httpServer runs the codecs of one connection manager.
type httpServer struct {
	hcm    *hcm
	one    *http.Server // HTTP/1, fed by conns
	two    *http2Codec
	conns  *connQueue
	served chan struct{} // closed when one has stopped
}

// downstreamKey is where a request's context keeps its connection.
type downstreamKey struct{}

// defaultConnIdle and defaultHeaderKB are Envoy's limits for connections without requests and for request headers.
const (
	defaultConnIdle = time.Hour
	defaultHeaderKB = 60
)

func (s *httpServer) init(h *hcm) {
	s.hcm = h
	s.conns = &connQueue{ready: make(chan net.Conn), done: make(chan struct{})}
	s.served = make(chan struct{})
	idle := duration(h.proto.GetCommonHttpProtocolOptions().GetIdleTimeout(), defaultConnIdle)
	s.one = &http.Server{
		Handler: h, IdleTimeout: idle, ErrorLog: log.New(io.Discard, "", 0),
		ReadHeaderTimeout: duration(h.proto.GetRequestHeadersTimeout(), 0),
		MaxHeaderBytes:    int(u32(h.proto.GetMaxRequestHeadersKb(), defaultHeaderKB)) << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if q, ok := c.(*queuedConn); ok {
				return context.WithValue(ctx, downstreamKey{}, q.info)
			}
			return ctx
		},
	}
	s.two = newHTTP2Codec(h, idle)
	if !h.engine.life.start(func() {
		defer close(s.served)
		_ = s.one.Serve(s.conns) // always http.ErrServerClosed
	}) {
		close(s.served)
	}
}

// serve carries one connection to its end, with the codec that ALPN or the first bytes ask for.
func (h *hcm) serve(d *downstream, conn net.Conn) {
	h.scope.Counter("downstream_cx_total").Inc()
	defer h.gauge("downstream_cx_active")()
	if d.tls != nil {
		h.scope.Counter("downstream_cx_ssl_total").Inc()
		defer h.gauge("downstream_cx_ssl_active")()
	}
	defer func() {
		h.scope.Counter("downstream_cx_destroy").Inc()
		h.scope.Counter("downstream_cx_rx_bytes_total").Add(uint64(d.received.Load()))
		h.scope.Counter("downstream_cx_tx_bytes_total").Add(uint64(d.sent.Load()))
	}()
	v2, conn, err := h.detect(d, conn)
	if err != nil {
		return
	}
	if v2 {
		h.scope.Counter("downstream_cx_http2_total").Inc()
		defer h.gauge("downstream_cx_http2_active")()
		h.server.two.serve(d, conn)
		return
	}
	h.scope.Counter("downstream_cx_http1_total").Inc()
	defer h.gauge("downstream_cx_http1_active")()
	q := &queuedConn{Conn: conn, info: d, closed: make(chan struct{})}
	if h.server.conns.put(q) {
		<-q.closed
	}
}

// gauge raises a gauge and returns what lowers it.
func (h *hcm) gauge(name string) func() {
	g := h.scope.Gauge(name)
	g.Inc()
	return g.Dec
}

// detect chooses the codec. Without ALPN the HTTP/2 preface decides, as in Envoy; what it took is put back.
func (h *hcm) detect(d *downstream, conn net.Conn) (v2 bool, again net.Conn, err error) {
	switch h.proto.GetCodecType() {
	case hcmv3.HttpConnectionManager_HTTP1:
		return false, conn, nil
	case hcmv3.HttpConnectionManager_HTTP2:
		return true, conn, nil
	}
	if d.tls != nil && d.tls.NegotiatedProtocol != "" {
		return d.tls.NegotiatedProtocol == "h2", conn, nil
	}
	preface := []byte(clientPreface)
	seen := make([]byte, 0, len(preface))
	for len(seen) < len(preface) && bytes.HasPrefix(preface, seen) {
		n, err := conn.Read(seen[len(seen):cap(seen)])
		seen = seen[:len(seen)+n]
		if err != nil && n == 0 {
			return false, conn, err
		}
	}
	return bytes.Equal(seen, preface), &ownedConn{Conn: conn, replay: seen, closed: func() {}}, nil
}

// closeIdle ends HTTP/1 connections that wait for a request, makes the others close after their response, and sends
// GOAWAY on HTTP/2 connections.
func (s *httpServer) closeIdle() {
	s.one.SetKeepAlivesEnabled(false)
	s.two.goAway()
}

// close ends everything at once.
func (s *httpServer) close() {
	s.conns.end()
	_ = s.one.Close() // cuts connections; there is nothing to flush
	<-s.served
}

// connQueue is a net.Listener whose connections come from elsewhere.
type connQueue struct {
	ready chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// put hands a connection over; false means that the server has ended.
func (q *connQueue) put(c net.Conn) bool {
	select {
	case q.ready <- c:
		return true
	case <-q.done:
		return false
	}
}

// Accept implements net.Listener.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.ready:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *connQueue) end() { q.once.Do(func() { close(q.done) }) }

// Close implements net.Listener.
func (q *connQueue) Close() error {
	q.end()
	return nil
}

// Addr implements net.Listener.
func (q *connQueue) Addr() net.Addr { return &net.TCPAddr{} }

// queuedConn tells when the server is done with it.
type queuedConn struct {
	net.Conn
	info   *downstream
	closed chan struct{}
	once   sync.Once
}

// Close implements net.Conn.
func (c *queuedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// CloseWrite passes an end of data on.
func (c *queuedConn) CloseWrite() error { return closeWrite(c.Conn) }
