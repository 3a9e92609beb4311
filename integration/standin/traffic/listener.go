// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	origdstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/proto"
)

// listener is one accepted version of a listener. Versions of one name share a port while the address stays.
type listener struct {
	name   string
	proto  *listenerv3.Listener
	shared *shared
	port   *listenPort

	chains       []*filterChain
	defaultChain *filterChain
	originalDst  bool
	inspects     bool
	filterTime   time.Duration // limit of listener filters; zero: none
	continues    bool          // when that is over
	waiting      *time.Timer   // of a warming listener; owned by the set
}

// listenPort is a bound address and what happens to the connections that arrive at it.
type listenPort struct {
	bound   *boundSocket
	backlog int

	current atomic.Pointer[listener]

	mu        sync.Mutex
	accepting net.Listener // nil until active, and again after it stopped
	closed    bool
}

// newListener validates and compiles; chains equal to those of the active version are taken over from it.
func newListener(p *listenerv3.Listener, e *Engine, active *listener) (*listener, error) {
	l := &listener{
		name: p.GetName(), proto: proto.CloneOf(p), filterTime: duration(p.GetListenerFiltersTimeout(), 15*time.Second),
		continues: p.GetContinueOnListenerFiltersTimeout(),
	}
	addr, err := socketAddress(p.GetAddress(), false)
	if err != nil {
		return nil, err
	}
	if err := l.readListenerFilters(); err != nil {
		return nil, err
	}
	reuse := active != nil && sameButChains(active.proto, p)
	if reuse {
		l.shared = active.shared
	} else if l.shared, err = newShared(p, e, addr); err != nil {
		return nil, err
	}
	var old []*filterChain
	if reuse {
		old = active.all()
	}
	if err := l.compileChains(old); err != nil {
		l.discard(active)
		return nil, err
	}
	return l, nil
}

// sameButChains says whether an update changes nothing but filter chains, which Envoy then exchanges in place.
func sameButChains(a, b *listenerv3.Listener) bool {
	x, y := proto.CloneOf(a), proto.CloneOf(b)
	for _, l := range []*listenerv3.Listener{x, y} {
		l.FilterChains, l.DefaultFilterChain = nil, nil
	}
	return proto.Equal(x, y)
}

func newShared(p *listenerv3.Listener, e *Engine, addr address) (*shared, error) {
	log, err := newAccessLog(p.GetAccessLog(), e.sinks)
	if err != nil {
		return nil, err
	}
	prefix := p.GetStatPrefix()
	if prefix == "" {
		prefix = addr.target
	}
	sh := &shared{
		engine: e, name: p.GetName(), inbound: p.GetTrafficDirection() == corev3.TrafficDirection_INBOUND, log: log,
		scope: e.stats.Scope("listener." + strings.ReplaceAll(prefix, ":", "_") + "."),
	}
	for _, name := range []string{"downstream_cx_total", "downstream_cx_destroy", "downstream_cx_overflow",
		"downstream_pre_cx_timeout", "no_filter_chain_match"} {
		sh.scope.Counter(name)
	}
	sh.scope.Gauge("downstream_cx_active")
	sh.scope.Gauge("downstream_pre_cx_active")
	return sh, nil
}

func (l *listener) readListenerFilters() error {
	for _, f := range l.proto.GetListenerFilters() {
		m, err := unpack(f.GetTypedConfig())
		if err != nil {
			return err
		}
		switch m.(type) {
		case *origdstv3.OriginalDst:
			l.originalDst = true
		case *tlsinspv3.TlsInspector:
			l.inspects = true
		case *httpinspv3.HttpInspector:
			// It would detect the HTTP version for application_protocols of plain text chains, which newChainMatch leaves
			// to TLS; no configuration that Consul sends matches on it.
		default:
			return unknownExtension(f.GetName(), f.GetTypedConfig().GetTypeUrl())
		}
	}
	return nil
}

func (l *listener) compileChains(old []*filterChain) error {
	compile := func(p *listenerv3.FilterChain) (*filterChain, error) {
		for _, c := range old {
			if proto.Equal(c.proto, p) {
				return c, nil
			}
		}
		return newChain(p, l.shared)
	}
	for i, p := range l.proto.GetFilterChains() {
		if slices.ContainsFunc(l.proto.GetFilterChains()[:i], func(other *listenerv3.FilterChain) bool {
			return proto.Equal(other.GetFilterChainMatch(), p.GetFilterChainMatch())
		}) {
			return fmt.Errorf("error adding listener '%s': filter chain '%s' has the same matching rules defined as another one", l.name, p.GetName())
		}
		c, err := compile(p)
		if err != nil {
			return err
		}
		l.chains = append(l.chains, c)
		// Envoy adds the tls_inspector by itself where a match depends on it.
		m := p.GetFilterChainMatch()
		l.inspects = l.inspects || len(m.GetServerNames())+len(m.GetApplicationProtocols())+len(m.GetTransportProtocol()) > 0
	}
	if p := l.proto.GetDefaultFilterChain(); p != nil {
		c, err := compile(p)
		if err != nil {
			return err
		}
		l.defaultChain = c
	}
	if len(l.all()) == 0 {
		return fmt.Errorf("error adding listener '%s': no filter chains specified", l.name)
	}
	return nil
}

// all are the chains, the default one included.
func (l *listener) all() []*filterChain {
	if l.defaultChain == nil {
		return l.chains
	}
	return append(slices.Clone(l.chains), l.defaultChain)
}

// without are the chains that another version, which may be nil, does not share.
func (l *listener) without(other *listener) []*filterChain {
	var out []*filterChain
	for _, c := range l.all() {
		if other == nil || !slices.Contains(other.all(), c) {
			out = append(out, c)
		}
	}
	return out
}

// discard ends a version, except for what it shares with another.
func (l *listener) discard(other *listener) {
	if l.waiting != nil {
		l.waiting.Stop()
	}
	for _, c := range l.without(other) {
		c.close()
	}
	if other == nil || other.shared != l.shared {
		l.shared.scope.Close()
	}
}

// rdsNames are the route configurations that the listener needs, sorted.
func (l *listener) rdsNames() []string {
	var names []string
	for _, c := range l.all() {
		names = append(names, c.terminal.rdsNames()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bindPort takes the listener's address.
func (l *listener) bindPort() (*listenPort, error) {
	addr, err := socketAddress(l.proto.GetAddress(), false)
	if err != nil {
		return nil, err
	}
	bound, err := bind(addr, os.FileMode(l.proto.GetAddress().GetPipe().GetMode()))
	if err != nil {
		return nil, err
	}
	return &listenPort{bound: bound, backlog: int(u32(l.proto.GetTcpBacklogSize(), 4096))}, nil
}

// activate makes a version the one that new connections meet, and starts listening if nobody did.
func (p *listenPort) activate(l *listener) error {
	p.current.Store(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepting != nil || p.closed {
		return nil
	}
	ln, err := p.bound.listen(p.backlog)
	if err != nil {
		return err
	}
	p.accepting = ln
	l.shared.engine.life.start(func() { p.acceptLoop(ln, l.shared.engine) })
	return nil
}

// stop ends accepting; what was accepted goes on.
func (p *listenPort) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.accepting != nil {
		_ = p.accepting.Close() // the address is given up either way
	}
	_ = p.bound.close()
}

func (p *listenPort) listening() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepting != nil && !p.closed
}

// acceptPause is how long accepting rests after an error such as a lack of descriptors.
const acceptPause = 50 * time.Millisecond

func (p *listenPort) acceptLoop(ln net.Listener, e *Engine) {
	for {
		raw, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			e.log.Warn("accept failed", "address", p.bound.localAddr(), "error", err)
			select {
			case <-time.After(acceptPause):
			case <-e.life.Done():
				return
			}
			continue
		}
		l := p.current.Load()
		if !e.life.start(func() { l.handle(raw) }) {
			_ = raw.Close() // closing down
		}
	}
}
