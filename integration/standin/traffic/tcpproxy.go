// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"podplane/integration/standin/stats"
)

// tcpProxy is envoy.filters.network.tcp_proxy.
type tcpProxy struct {
	engine   *Engine
	cluster  string
	weighted []weightedName
	attempts uint32
	idle     time.Duration // zero: none
	lifetime time.Duration // zero: none
	log      accessLog
	scope    *stats.Scope
}

// weightedName is a cluster and its share.
type weightedName struct {
	name   string
	weight uint32
}

func newTCPProxy(c *tcpv3.TcpProxy, e *Engine) (*tcpProxy, error) {
	p := &tcpProxy{
		engine: e, cluster: c.GetCluster(), attempts: max(1, u32(c.GetMaxConnectAttempts(), 1)),
		idle: duration(c.GetIdleTimeout(), time.Hour), lifetime: duration(c.GetMaxDownstreamConnectionDuration(), 0),
	}
	for _, w := range c.GetWeightedClusters().GetClusters() {
		p.weighted = append(p.weighted, weightedName{name: w.GetName(), weight: w.GetWeight()})
	}
	var err error
	if p.log, err = newAccessLog(c.GetAccessLog(), e.sinks); err != nil {
		return nil, err
	}
	p.scope = e.stats.Scope("tcp." + c.GetStatPrefix() + ".")
	for _, name := range []string{"downstream_cx_total", "downstream_cx_no_route", "downstream_cx_rx_bytes_total",
		"downstream_cx_tx_bytes_total", "idle_timeout", "max_downstream_connection_duration", "upstream_flush_total"} {
		p.scope.Counter(name)
	}
	p.scope.Gauge("upstream_flush_active")
	return p, nil
}

// serve carries one connection to its end.
func (p *tcpProxy) serve(d *downstream, conn net.Conn) {
	p.scope.Counter("downstream_cx_total").Inc()
	defer func() {
		_ = conn.Close() // both ends are done with it
		p.scope.Counter("downstream_cx_rx_bytes_total").Add(uint64(d.received.Load()))
		p.scope.Counter("downstream_cx_tx_bytes_total").Add(uint64(d.sent.Load()))
		p.log.write(d.logEntry())
	}()
	upstream, host := p.connect(d)
	if upstream == nil {
		return
	}
	defer host.release()
	p.relay(conn, upstream)
}

// choose names the cluster of a connection.
func (p *tcpProxy) choose(d *downstream) string {
	if d.clusterOverride != "" {
		return d.clusterOverride
	}
	if len(p.weighted) == 0 {
		return p.cluster
	}
	return drawName(p.weighted)
}

// drawName draws a cluster by weight.
func drawName(names []weightedName) string {
	var total uint64
	for _, w := range names {
		total += uint64(w.weight)
	}
	if total == 0 {
		return ""
	}
	draw := rand.Uint64N(total)
	for _, w := range names {
		if draw < uint64(w.weight) {
			return w.name
		}
		draw -= uint64(w.weight)
	}
	return ""
}

// connect reaches an endpoint, in as many attempts as allowed, or notes why it could not. The host is acquired.
func (p *tcpProxy) connect(d *downstream) (net.Conn, *host) {
	d.cluster = p.choose(d)
	c := p.engine.clusters.get(d.cluster)
	if c == nil {
		d.flags = "NC"
		p.scope.Counter("downstream_cx_no_route").Inc()
		return nil, nil
	}
	tried := map[*host]bool{}
	for range p.attempts {
		e := c.pick(lbContext{originalDst: d.local, tried: tried})
		if e == nil {
			c.scope.Counter("upstream_cx_none_healthy").Inc()
			d.flags = "UH"
			return nil, nil
		}
		tried[e.host] = true
		d.upstream, d.cluster = e.address.target, e.cluster.name
		e.acquire()
		upstream, err := e.dial(p.engine.life, nil)
		if err == nil {
			d.flags = ""
			e.report(false)
			e.cluster.scope.Counter("upstream_rq_total").Inc()
			e.rqTotal.Add(1)
			return upstream, e.host
		}
		e.release()
		d.flags, d.failure = "UF,URX", err.Error()
		if errors.Is(err, errOverflow) {
			d.flags = "UO"
		}
		p.engine.log.Debug("upstream connection failed", "cluster", c.name, "address", e.address.target, "error", err)
	}
	c.scope.Counter("upstream_cx_connect_attempts_exceeded").Inc()
	return nil, nil
}

// relay copies both ways. An end of data on one side becomes a half-close on the other; an error ends both.
func (p *tcpProxy) relay(down, up net.Conn) {
	end := func() {
		_ = down.Close()
		_ = up.Close()
	}
	defer end()
	var idle *time.Timer
	if p.idle > 0 {
		idle = time.AfterFunc(p.idle, func() {
			p.scope.Counter("idle_timeout").Inc()
			end()
		})
		defer idle.Stop()
	}
	if p.lifetime > 0 {
		timer := time.AfterFunc(p.lifetime, func() {
			p.scope.Counter("max_downstream_connection_duration").Inc()
			end()
		})
		defer timer.Stop()
	}
	var both sync.WaitGroup
	both.Go(func() { copyHalf(up, &activeReader{down, idle, p.idle}, end) })
	both.Go(func() { copyHalf(down, &activeReader{up, idle, p.idle}, end) })
	both.Wait()
}

// copyHalf copies one direction and passes its end on.
func copyHalf(to net.Conn, from io.Reader, abort func()) {
	if _, err := io.Copy(to, from); err != nil {
		abort()
		return
	}
	if err := closeWrite(to); err != nil {
		abort()
	}
}

// activeReader puts the idle timeout off whenever there is data.
type activeReader struct {
	io.Reader
	timer   *time.Timer
	timeout time.Duration
}

// Read implements io.Reader.
func (r *activeReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.timer != nil && n > 0 {
		r.timer.Reset(r.timeout)
	}
	return n, err
}

// leave does nothing: tcp_proxy has no way to tell a client to go.
func (p *tcpProxy) leave(bool) {}

func (p *tcpProxy) rdsNames() []string { return nil }

func (p *tcpProxy) close() { p.scope.Close() }

// logEntry is what an access log says of a connection at its end.
func (d *downstream) logEntry() *logEntry {
	return &logEntry{
		conn: d, flags: d.flags, received: d.received.Load(), sent: d.sent.Load(), start: d.started,
		duration: time.Since(d.started), cluster: d.cluster, upstream: d.upstream, failure: d.failure, details: d.details,
	}
}
