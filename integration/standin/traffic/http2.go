// SPDX-License-Identifier: MPL-2.0

//nolint:staticcheck // golang.org/x/net/http2 is deprecated for the copy inside of net/http: see below.
package traffic

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// This is the one place that uses golang.org/x/net/http2. The copy in net/http, for which that is deprecated, cannot serve
// a connection that was accepted elsewhere.

// clientPreface is what an HTTP/2 client says first.
const clientPreface = http2.ClientPreface

// idleTransport is a pool of upstream connections.
type idleTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// refusedStream says whether a host has refused a request unseen. The transport wraps the error as text only.
func refusedStream(err error) bool {
	return strings.Contains(err.Error(), http2.ErrCodeRefusedStream.String())
}

// leftOut says whether a graceful GOAWAY said that a request will not be served. Of a host that is a Go server, as the
// stand-in's own listeners are, that is no loss: it sends the last GOAWAY at once, where Envoy first announces it, with
// room for what is on its way.
func leftOut(err error) bool {
	return err != nil && strings.Contains(err.Error(), "graceful shutdown GOAWAY")
}

// newHTTP2 is the pool for HTTP/2, with TLS or without: the dial decides.
func (h *host) newHTTP2() idleTransport {
	return &http2.Transport{
		AllowHTTP: true, DisableCompression: true, IdleConnTimeout: upstreamIdle,
		DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
			conn, err := h.dial(ctx, []string{"h2"})
			if err == nil {
				h.cluster.scope.Counter("upstream_cx_http2_total").Inc()
			}
			return conn, err
		},
	}
}

// http2Codec serves downstream connections that speak HTTP/2.
type http2Codec struct {
	hcm    *hcm
	server *http2.Server
	hooks  *http.Server // its Shutdown sends GOAWAY on every connection
}

func newHTTP2Codec(h *hcm, idle time.Duration) *http2Codec {
	c := &http2Codec{
		hcm: h, hooks: &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)},
		server: &http2.Server{
			MaxConcurrentStreams: u32(h.proto.GetHttp2ProtocolOptions().GetMaxConcurrentStreams(), 1024), IdleTimeout: idle,
		},
	}
	// The error would be about TLS cipher suites, of which this server has none.
	_ = http2.ConfigureServer(c.hooks, c.server)
	return c
}

// serve carries one connection to its end.
func (c *http2Codec) serve(d *downstream, conn net.Conn) {
	c.server.ServeConn(conn, &http2.ServeConnOpts{
		Context: context.WithValue(context.Context(c.hcm.engine.life), downstreamKey{}, d), BaseConfig: c.hooks, Handler: c.hcm,
	})
}

// goAway tells the clients of all connections to leave.
func (c *http2Codec) goAway() {
	// Shutdown calls the hooks that send GOAWAY; it has no listener or connection of its own to wait for.
	_ = c.hooks.Shutdown(context.Context(c.hcm.engine.life))
}
