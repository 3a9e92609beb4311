// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// resolver keeps the endpoints of one DNS cluster up to date.
type resolver struct {
	cancel context.CancelFunc
	once   sync.Once
}

// stop ends the resolver; a nil one is fine.
func (r *resolver) stop() {
	if r != nil {
		r.once.Do(r.cancel)
	}
}

// resolve starts resolving. done is called after the first attempt, whatever its result, which is when Envoy considers
// the cluster initialised.
func (c *cluster) resolve(done func()) {
	ctx, cancel := context.WithCancel(c.life)
	c.dns = &resolver{cancel: cancel}
	started := c.life.start(func() {
		defer cancel()
		c.resolveLoop(ctx, done)
	})
	if !started {
		cancel()
	}
}

func (c *cluster) resolveLoop(ctx context.Context, done func()) {
	refresh := duration(c.proto.GetDnsRefreshRate(), 5*time.Second) //nolint:staticcheck // deprecated, and what Consul sends
	entries, err := readEndpoints(c.proto.GetLoadAssignment().GetEndpoints(), true)
	if err != nil {
		return // checkDNS has seen that it does not happen
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; first = false {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		c.scope.Counter("update_attempt").Inc()
		found, err := resolveAll(ctx, entries, c.proto)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.scope.Counter("update_failure").Inc()
			c.log.Debug("dns resolution failed", "cluster", c.name, "error", err)
		default:
			c.scope.Counter("update_success").Inc()
			if !slices.Equal(found, c.entries()) {
				c.install(found)
			}
		}
		if first {
			done()
		}
		timer.Reset(refresh)
	}
}

// entries are the present endpoints in the form that readEndpoints gives.
func (c *cluster) entries() []entry {
	var out []entry
	for _, e := range c.hosts.Load().all {
		out = append(out, entry{addr: e.address, hostname: e.hostname, weight: e.weight, priority: e.priority, health: e.health})
	}
	return out
}

// resolveAll turns names into addresses: all of them for STRICT_DNS, the first for LOGICAL_DNS.
func resolveAll(ctx context.Context, entries []entry, p *clusterv3.Cluster) ([]entry, error) {
	var out []entry
	for _, e := range entries {
		if e.addr.network == "unix" {
			out = append(out, e)
			continue
		}
		name, port, err := net.SplitHostPort(e.addr.target)
		if err != nil {
			return nil, err
		}
		addrs, err := lookup(ctx, name, p.GetDnsLookupFamily())
		if err != nil {
			return nil, err
		}
		if p.GetType() == clusterv3.Cluster_LOGICAL_DNS && len(addrs) > 1 {
			addrs = addrs[:1]
		}
		for _, a := range addrs {
			resolved := e
			resolved.addr.target = net.JoinHostPort(a.String(), port)
			if resolved.hostname == "" {
				resolved.hostname = name
			}
			out = append(out, resolved)
		}
	}
	return out, nil
}

// lookup resolves one name by the cluster's family; AUTO prefers IPv6, as in Envoy. The result is sorted, so that an
// answer in another order is no change.
func lookup(ctx context.Context, name string, family clusterv3.Cluster_DnsLookupFamily) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	networks := []string{"ip6", "ip4"}
	switch family {
	case clusterv3.Cluster_V4_ONLY:
		networks = []string{"ip4"}
	case clusterv3.Cluster_V6_ONLY:
		networks = []string{"ip6"}
	case clusterv3.Cluster_V4_PREFERRED:
		networks = []string{"ip4", "ip6"}
	case clusterv3.Cluster_ALL:
		networks = []string{"ip"}
	}
	var failure error
	for _, network := range networks {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, name)
		if err != nil {
			failure = err
			continue
		}
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		return slices.Compact(addrs), nil
	}
	return nil, failure
}
