// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// handle carries one accepted connection from its listener filters to its end.
func (l *listener) handle(raw net.Conn) {
	e := l.shared.engine
	d := &downstream{
		id: e.nextID.Add(1), started: time.Now(), remote: addrPort(raw.RemoteAddr()), local: addrPort(raw.LocalAddr()),
	}
	// A connection that waits for its first bytes must not outlive the Engine.
	stop := context.AfterFunc(e.life, func() { _ = raw.Close() })
	defer stop()
	pre := l.shared.scope.Gauge("downstream_pre_cx_active")
	pre.Inc()
	if l.originalDst {
		d.local = originalDst(raw)
	}
	found, replay, err := l.inspectFirst(raw)
	pre.Dec()
	if err != nil {
		_ = raw.Close()
		return
	}
	d.sni = found.sni
	chain := choose(l.chains, l.defaultChain, chainInput{destination: d.local, source: d.remote, hello: found})
	if chain == nil {
		l.shared.scope.Counter("no_filter_chain_match").Inc()
		d.flags = "NR"
		d.details = "filter_chain_not_found"
		l.shared.log.write(d.logEntry())
		_ = raw.Close()
		return
	}
	d.chain = chain
	l.carry(d, raw, replay)
}

// inspectFirst runs the inspectors, if there are any.
func (l *listener) inspectFirst(raw net.Conn) (hello, []byte, error) {
	if !l.inspects {
		return hello{}, nil, nil
	}
	found, replay, err := inspect(l.shared.engine.life, raw, l.filterTime)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.shared.scope.Counter("downstream_pre_cx_timeout").Inc()
		if l.continues {
			err = nil
		}
	}
	return found, replay, err
}

// carry counts the connection, secures it, runs the filters and hands it to the one that ends the chain.
func (l *listener) carry(d *downstream, raw net.Conn, replay []byte) {
	scope, chain := l.shared.scope, d.chain
	scope.Counter("downstream_cx_total").Inc()
	scope.Gauge("downstream_cx_active").Inc()
	owned := &ownedConn{Conn: raw, info: d, replay: replay}
	owned.closed = func() {
		chain.remove(owned)
		scope.Gauge("downstream_cx_active").Dec()
		scope.Counter("downstream_cx_destroy").Inc()
		scope.Histogram("downstream_cx_length_ms").Record(float64(time.Since(d.started).Milliseconds()))
	}
	defer func() {
		_ = owned.Close()
		l.shared.log.write(d.logEntry())
	}()
	if !chain.add(owned) {
		return
	}
	secured, err := chain.secure(d, owned)
	if err != nil {
		l.shared.engine.log.Debug("tls handshake failed", "listener", l.name, "remote", d.remote.String(), "error", err)
		d.details = "downstream_transport_failure"
		return
	}
	conn := &meteredConn{Conn: secured, info: d}
	for _, f := range chain.filters {
		done, err := f.open(d, conn)
		if err != nil {
			return
		}
		defer done()
	}
	d.conn = conn
	chain.terminal.serve(d, conn)
}

// secure does the TLS handshake of a chain that has TLS.
func (c *filterChain) secure(d *downstream, conn net.Conn) (net.Conn, error) {
	if c.tls == nil {
		return conn, nil
	}
	counters := sslStats{c.shared.scope}
	ctx := context.Context(c.shared.engine.life)
	if c.handshake > 0 {
		limited, cancel := context.WithTimeout(ctx, c.handshake)
		defer cancel()
		ctx = limited
	}
	secured := tls.Server(conn, c.tls.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		counters.failure(err, c.tls.require)
		return nil, err
	}
	state := secured.ConnectionState()
	counters.handshake(state)
	d.tls = &state
	if d.sni == "" {
		d.sni = state.ServerName
	}
	return secured, nil
}
