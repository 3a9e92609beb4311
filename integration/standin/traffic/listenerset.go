// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"slices"
	"sync"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

// listenerSet is all listeners: those that accept, newer or first versions that still warm, and old chains that drain.
type listenerSet struct {
	engine *Engine

	mu       sync.Mutex
	active   map[string]*listener
	warming  map[string]*listener
	draining map[*filterChain]*time.Timer // each is closed when its timer fires
	stopped  bool                         // by a drain: nothing new listens
	working  bool                         // the workers run: what is active listens
	closed   bool
}

// update adds or replaces a listener. One that needs routes which are not there yet warms first, with its address
// bound, while its predecessor, if any, accepts on.
func (s *listenerSet) update(p *listenerv3.Listener) error {
	if err := check(p); err != nil {
		return fmt.Errorf("error adding listener '%s': %w", p.GetName(), err)
	}
	s.mu.Lock()
	err := s.replace(p)
	s.mu.Unlock()
	if err == nil {
		s.engine.changed()
	}
	return err
}

// replace does the work of update; the lock is held.
func (s *listenerSet) replace(p *listenerv3.Listener) error {
	name := p.GetName()
	active, older := s.active[name], s.warming[name]
	latest := older
	if latest == nil {
		latest = active
	}
	if s.closed || (latest != nil && proto.Equal(latest.proto, p)) {
		return nil
	}
	if err := s.refuseDuplicate(p); err != nil {
		return err
	}
	l, err := newListener(p, s.engine, active)
	if err != nil {
		return fmt.Errorf("error adding listener '%s': %w", name, err)
	}
	if l.port = s.portFor(p, active, older); l.port == nil {
		if l.port, err = l.bindPort(); err != nil {
			l.discard(active)
			return fmt.Errorf("error adding listener '%s': %w", name, err)
		}
	}
	if older != nil {
		s.dropWarming(older, l)
	}
	if !s.engine.routes.have(l.rdsNames()) {
		s.warming[name] = l
		if limit := l.routeTimeout(); limit > 0 {
			l.waiting = time.AfterFunc(limit, func() { s.giveUp(l) })
		}
		return nil
	}
	return s.promote(l)
}

// portFor finds the port that a version may share with its predecessors.
func (s *listenerSet) portFor(p *listenerv3.Listener, versions ...*listener) *listenPort {
	for _, v := range versions {
		if v != nil && proto.Equal(v.proto.GetAddress(), p.GetAddress()) && !v.port.isClosed() {
			return v.port
		}
	}
	return nil
}

func (p *listenPort) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// refuseDuplicate refuses an address that another listener has. Port zero is nobody's.
func (s *listenerSet) refuseDuplicate(p *listenerv3.Listener) error {
	if sa := p.GetAddress().GetSocketAddress(); sa != nil && sa.GetPortValue() == 0 {
		return nil
	}
	for _, group := range []map[string]*listener{s.active, s.warming} {
		for name, other := range group {
			if name != p.GetName() && proto.Equal(other.proto.GetAddress(), p.GetAddress()) {
				return fmt.Errorf("error adding listener: '%s' has duplicate address '%s' as existing listener",
					p.GetName(), other.port.bound.localAddr())
			}
		}
	}
	return nil
}

// dropWarming forgets a version that never became active, keeping what next or the active version needs of it.
func (s *listenerSet) dropWarming(older, next *listener) {
	delete(s.warming, older.name)
	active := s.active[older.name]
	older.discard(active)
	if (next == nil || next.port != older.port) && (active == nil || active.port != older.port) {
		older.port.stop()
	}
}

// promote makes a version the accepting one and drains its predecessor. The lock is held.
func (s *listenerSet) promote(l *listener) error {
	old := s.active[l.name]
	delete(s.warming, l.name)
	if l.waiting != nil {
		l.waiting.Stop()
	}
	if !s.mayListen(l) {
		l.port.current.Store(l)
	} else if err := l.port.activate(l); err != nil {
		l.discard(old)
		return fmt.Errorf("error adding listener '%s': %w", l.name, err)
	}
	s.active[l.name] = l
	if old == nil {
		return nil
	}
	if old.port != l.port {
		old.port.stop()
	}
	s.drainChains(old, l)
	return nil
}

// drainChains tells the clients of chains that next does not have to leave, and cuts them at the end of the drain time.
func (s *listenerSet) drainChains(old, next *listener) {
	gone := old.without(next)
	scope := old.shared.scope
	ownScope := next == nil || next.shared != old.shared
	left := len(gone)
	for _, c := range gone {
		c.drain()
		s.draining[c] = time.AfterFunc(s.engine.cfg.DrainTime, func() {
			s.mu.Lock()
			delete(s.draining, c)
			left--
			last := left == 0
			s.mu.Unlock()
			c.close()
			if last && ownScope {
				scope.Close()
			}
		})
	}
}

// giveUp activates a listener whose routes did not come; it answers 404 until they do.
func (s *listenerSet) giveUp(l *listener) {
	s.mu.Lock()
	if s.warming[l.name] != l || s.closed {
		s.mu.Unlock()
		return
	}
	err := s.promote(l)
	s.mu.Unlock()
	if err != nil {
		s.engine.log.Error("listener not activated", "listener", l.name, "error", err)
	}
	s.engine.changed()
}

// routesArrived activates the listeners that waited for routes which are now there.
func (s *listenerSet) routesArrived() {
	s.mu.Lock()
	for _, l := range s.warming {
		if !s.engine.routes.have(l.rdsNames()) {
			continue
		}
		if err := s.promote(l); err != nil {
			s.engine.log.Error("listener not activated", "listener", l.name, "error", err)
		}
	}
	s.mu.Unlock()
	s.engine.changed()
}

// remove stops accepting at once and drains.
func (s *listenerSet) remove(name string) {
	s.mu.Lock()
	if older := s.warming[name]; older != nil {
		s.dropWarming(older, nil)
	}
	if l := s.active[name]; l != nil {
		delete(s.active, name)
		l.port.stop()
		s.drainChains(l, nil)
	}
	s.mu.Unlock()
	s.engine.routes.keep(s.rdsNames())
	s.engine.changed()
}

// routeTimeout is how long the listener waits for its routes; zero: for ever.
func (l *listener) routeTimeout() time.Duration {
	limit := time.Duration(0)
	for _, c := range l.all() {
		h, ok := c.terminal.(*hcm)
		if !ok || h.rds == nil {
			continue
		}
		own := rdsTimeout(h.rds)
		if own == 0 {
			return 0
		}
		limit = max(limit, own)
	}
	return limit
}

func rdsTimeout(r *hcmv3.Rds) time.Duration {
	return duration(r.GetConfigSource().GetInitialFetchTimeout(), defaultFetchTimeout)
}

func (s *listenerSet) rdsNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, group := range []map[string]*listener{s.active, s.warming} {
		for _, l := range group {
			names = append(names, l.rdsNames()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *listenerSet) warmingNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.warming {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// each calls f for every active listener, in the order of their names.
func (s *listenerSet) each(f func(*listener)) {
	s.mu.Lock()
	list := make([]*listener, 0, len(s.active))
	for _, l := range s.active {
		list = append(list, l)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *listener) int { return compareStrings(a.name, b.name) })
	for _, l := range list {
		f(l)
	}
}

// close stops accepting and cuts every connection.
func (s *listenerSet) close() {
	s.mu.Lock()
	s.closed = true
	var versions []*listener
	for _, group := range []map[string]*listener{s.active, s.warming} {
		for _, l := range group {
			versions = append(versions, l)
		}
	}
	var chains []*filterChain
	for c, timer := range s.draining {
		timer.Stop()
		chains = append(chains, c)
	}
	s.mu.Unlock()
	for _, l := range versions {
		l.port.stop()
		l.discard(nil)
	}
	for _, c := range chains {
		c.close()
	}
}
