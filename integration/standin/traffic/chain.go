// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	netrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	sniv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_cluster/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"podplane/integration/standin/stats"
)

// terminal is the filter that ends a chain.
type terminal interface {
	// serve carries a connection and returns when it has ended.
	serve(d *downstream, conn net.Conn)
	// leave tells clients to go, closing idle connections too if asked.
	leave(closeIdle bool)
	rdsNames() []string
	close()
}

// shared is what the chains of one listener have in common; it survives updates that change only chains.
type shared struct {
	engine  *Engine
	name    string
	inbound bool
	scope   *stats.Scope
	log     accessLog
}

// filterChain is one compiled chain. An update that leaves it as it is keeps it, with its connections.
type filterChain struct {
	proto     *listenerv3.FilterChain
	shared    *shared
	match     chainMatch
	tls       *tlsContext
	handshake time.Duration // limit; zero: none
	filters   []networkFilter
	terminal  terminal

	draining atomic.Bool
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	closed   bool
}

// newChain compiles a chain; it starts nothing that outlives a call of close.
func newChain(p *listenerv3.FilterChain, sh *shared) (*filterChain, error) {
	c := &filterChain{
		proto: p, shared: sh, conns: map[net.Conn]struct{}{},
		handshake: duration(p.GetTransportSocketConnectTimeout(), 0),
	}
	var err error
	if c.match, err = newChainMatch(p.GetFilterChainMatch()); err != nil {
		return nil, err
	}
	if c.tls, err = newDownstreamTLS(p.GetTransportSocket(), sh.engine.secret); err != nil {
		return nil, err
	}
	for i, f := range p.GetFilters() {
		if err := c.addFilter(f, i == len(p.GetFilters())-1); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// addFilter compiles one network filter. The last one must end the chain, and no other may.
func (c *filterChain) addFilter(f *listenerv3.Filter, last bool) error {
	m, err := unpack(f.GetTypedConfig())
	if err != nil {
		return err
	}
	e := c.shared.engine
	var filter networkFilter
	switch v := m.(type) {
	case *tcpv3.TcpProxy:
		p, err := newTCPProxy(v, e)
		if err != nil {
			return err
		}
		c.terminal = p
	case *hcmv3.HttpConnectionManager:
		h, err := newHCM(v, c.shared)
		if err != nil {
			return err
		}
		c.terminal = h
	case *netrbacv3.RBAC:
		filter, err = newNetRBAC(v, e.stats)
	case *limitv3.ConnectionLimit:
		filter = newConnectionLimit(v, e.stats)
	case *sniv3.SniCluster:
		filter = sniCluster{}
	default:
		return unknownExtension(f.GetName(), f.GetTypedConfig().GetTypeUrl())
	}
	if err != nil {
		return err
	}
	if ends := filter == nil; ends != last {
		if last {
			return envoyError("Error: non-terminal filter named %s of type %s is the last filter in a network filter chain.", f.GetName(), f.GetName())
		}
		return envoyError("Error: terminal filter named %s of type %s must be the last filter in a network filter chain.", f.GetName(), f.GetName())
	}
	if filter != nil {
		c.filters = append(c.filters, filter)
	}
	return nil
}

// add counts a connection in; false means that the chain is gone.
func (c *filterChain) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.conns[conn] = struct{}{}
	return true
}

func (c *filterChain) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

func (c *filterChain) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// drain tells the chain's clients to leave with their next response. Idle connections stay, as in Envoy.
func (c *filterChain) drain() {
	c.draining.Store(true)
	if c.terminal != nil {
		c.terminal.leave(false)
	}
}

// close cuts what is left of the chain.
func (c *filterChain) close() {
	c.mu.Lock()
	c.closed = true
	conns := make([]net.Conn, 0, len(c.conns))
	for conn := range c.conns {
		conns = append(conns, conn)
	}
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close() // an error means that it was closed already
	}
	for _, f := range c.filters {
		f.close()
	}
	if c.terminal != nil {
		c.terminal.close()
	}
}
