// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"slices"
	"sync"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"podplane/integration/standin/stats"
)

// defaultFetchTimeout is how long a resource warms for lack of EDS or RDS where its config source does not say.
// Source: initial_fetch_timeout in https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/config_source.proto
const defaultFetchTimeout = 15 * time.Second

// clusterSet is all clusters: those that serve, and newer or first versions of them that still warm.
type clusterSet struct {
	life    *life
	log     hclog.Logger
	stats   *stats.Store
	secret  secretSource
	changed func()

	mu          sync.RWMutex
	active      map[string]*cluster
	warming     map[string]*cluster
	assignments map[string]*endpointv3.ClusterLoadAssignment // the last of each EDS name
	leaving     map[*host]struct{}                           // retired, and perhaps not done
	closed      bool
}

// get returns the cluster that serves under a name, or nil.
func (s *clusterSet) get(name string) *cluster {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.active[name]
}

// update adds or replaces a cluster. A cluster that needs endpoints first warms while its predecessor, if any, serves
// on. Equal content changes nothing, as in Envoy.
func (s *clusterSet) update(p *clusterv3.Cluster) error {
	s.mu.RLock()
	latest := s.warming[p.GetName()]
	if latest == nil {
		latest = s.active[p.GetName()]
	}
	s.mu.RUnlock()
	if latest != nil && proto.Equal(latest.proto, p) {
		return nil
	}
	c, err := newCluster(p, s)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", p.GetName(), err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		c.retire()
		return nil
	}
	older := s.warming[c.name]
	delete(s.warming, c.name)
	var replaced *cluster
	switch {
	case c.edsName != "":
		s.warming[c.name] = c
		if c.fetchTimeout > 0 {
			c.waiting = time.AfterFunc(c.fetchTimeout, func() { s.giveUp(c) })
		}
	case c.isDNS():
		s.warming[c.name] = c
	default:
		replaced = s.promote(c)
	}
	s.mu.Unlock()
	for _, old := range []*cluster{older, replaced} {
		if old != nil {
			old.retire()
		}
	}
	if c.isDNS() {
		c.resolve(func() { s.ready(c) })
	}
	s.changed()
	return nil
}

// promote makes a cluster the serving one and returns its predecessor. The lock is held.
func (s *clusterSet) promote(c *cluster) *cluster {
	old := s.active[c.name]
	s.active[c.name] = c
	delete(s.warming, c.name)
	return old
}

// ready ends the warming of a cluster, unless it was replaced meanwhile.
func (s *clusterSet) ready(c *cluster) {
	s.mu.Lock()
	if s.warming[c.name] != c || s.closed {
		s.mu.Unlock()
		return
	}
	old := s.promote(c)
	s.mu.Unlock()
	if old != nil {
		old.retire()
	}
	s.changed()
}

// giveUp ends the warming of an EDS cluster whose endpoints did not come. Envoy then uses the last assignment that it
// has for the name, if any.
func (s *clusterSet) giveUp(c *cluster) {
	s.mu.RLock()
	last := s.assignments[c.edsName]
	s.mu.RUnlock()
	c.scope.Counter("init_fetch_timeout").Inc()
	if last != nil {
		c.assign(last)
	}
	s.ready(c)
}

// assign applies an assignment that was validated.
func (c *cluster) assign(a *endpointv3.ClusterLoadAssignment) {
	c.overprovisioning.Store(u32(a.GetPolicy().GetOverprovisioningFactor(), 140))
	if err := c.apply(a.GetEndpoints()); err != nil {
		c.log.Error("endpoints not applied", "cluster", c.name, "error", err)
	}
}

// updateEndpoints gives an assignment to every cluster that wants it.
func (s *clusterSet) updateEndpoints(a *endpointv3.ClusterLoadAssignment) error {
	if err := check(a); err != nil {
		return fmt.Errorf("cluster load assignment %s: %w", a.GetClusterName(), err)
	}
	if _, err := readEndpoints(a.GetEndpoints(), false); err != nil {
		return fmt.Errorf("cluster load assignment %s: %w", a.GetClusterName(), err)
	}
	s.mu.Lock()
	s.assignments[a.GetClusterName()] = proto.CloneOf(a)
	s.mu.Unlock()
	for _, c := range s.subscribers(a.GetClusterName()) {
		c.assign(a)
		s.ready(c)
	}
	return nil
}

// subscribers are the active and warming clusters that want an assignment.
func (s *clusterSet) subscribers(edsName string) []*cluster {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*cluster
	for _, group := range []map[string]*cluster{s.active, s.warming} {
		for _, c := range group {
			if c.edsName == edsName {
				out = append(out, c)
			}
		}
	}
	return out
}

// removeEndpoints forgets an assignment. Clusters keep the endpoints that they have: a removal in a delta response is
// an empty update to Envoy's EDS. One that was still warming goes on with none.
func (s *clusterSet) removeEndpoints(edsName string) {
	s.mu.Lock()
	delete(s.assignments, edsName)
	s.mu.Unlock()
	for _, c := range s.subscribers(edsName) {
		c.scope.Counter("update_empty").Inc()
		s.ready(c)
	}
}

func (s *clusterSet) remove(name string) {
	s.mu.Lock()
	gone := []*cluster{s.active[name], s.warming[name]}
	delete(s.active, name)
	delete(s.warming, name)
	s.mu.Unlock()
	for _, c := range gone {
		if c == nil {
			continue
		}
		c.retire()
		if c.edsName != "" && len(s.subscribers(c.edsName)) == 0 {
			s.mu.Lock()
			delete(s.assignments, c.edsName)
			s.mu.Unlock()
		}
	}
	s.changed()
}

// retiring remembers a host until the end, so that close can cut what it still has.
func (s *clusterSet) retiring(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.leaving {
		if other.unused() {
			delete(s.leaving, other)
		}
	}
	s.leaving[h] = struct{}{}
}

// unused says whether a retired host has nothing left.
func (h *host) unused() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.retired && h.users == 0 && len(h.conns) == 0
}

// edsNames are the assignments wanted, sorted.
func (s *clusterSet) edsNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for _, group := range []map[string]*cluster{s.active, s.warming} {
		for _, c := range group {
			if c.edsName != "" {
				names = append(names, c.edsName)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *clusterSet) warmingNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for name := range s.warming {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// close retires every cluster and cuts every upstream connection.
func (s *clusterSet) close() {
	s.mu.Lock()
	s.closed = true
	var all []*cluster
	for _, group := range []map[string]*cluster{s.active, s.warming} {
		for _, c := range group {
			all = append(all, c)
		}
	}
	s.mu.Unlock()
	for _, c := range all {
		c.retire()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for h := range s.leaving {
		h.closeAll()
	}
}
