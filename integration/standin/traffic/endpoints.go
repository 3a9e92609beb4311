// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
)

// socketAddress turns a proto address into one to dial or to listen on. Host names are allowed where resolve is true.
func socketAddress(a *corev3.Address, resolve bool) (address, error) {
	switch v := a.GetAddress().(type) {
	case *corev3.Address_Pipe:
		return address{network: "unix", target: v.Pipe.GetPath()}, nil
	case *corev3.Address_SocketAddress:
		sa := v.SocketAddress
		if sa.GetProtocol() != corev3.SocketAddress_TCP {
			return address{}, fmt.Errorf("protocol %s is not supported", sa.GetProtocol())
		}
		if _, err := netip.ParseAddr(sa.GetAddress()); err != nil && !resolve {
			return address{}, fmt.Errorf("malformed IP address: %s. Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'",
				sa.GetAddress())
		}
		port := strconv.FormatUint(uint64(sa.GetPortValue()), 10)
		return address{network: "tcp", target: net.JoinHostPort(sa.GetAddress(), port)}, nil
	default:
		return address{}, errors.New("address is missing")
	}
}

// apply replaces the endpoints by those of an assignment whose addresses are final. It changes nothing on error.
func (c *cluster) apply(localities []*endpointv3.LocalityLbEndpoints) error {
	entries, err := readEndpoints(localities, false)
	if err != nil {
		return err
	}
	c.install(entries)
	return nil
}

// entry is an endpoint of an assignment before it has a host.
type entry struct {
	addr     address
	hostname string
	weight   uint32
	priority uint32
	health   corev3.HealthStatus
}

func readEndpoints(localities []*endpointv3.LocalityLbEndpoints, resolve bool) ([]entry, error) {
	var entries []entry
	seen := map[entry]bool{}
	for _, locality := range localities {
		for _, lb := range locality.GetLbEndpoints() {
			addr, err := socketAddress(lb.GetEndpoint().GetAddress(), resolve)
			if err != nil {
				return nil, err
			}
			key := entry{addr: addr, priority: locality.GetPriority()}
			if seen[key] {
				continue // Envoy keeps the first of equal addresses
			}
			seen[key] = true
			entries = append(entries, entry{
				addr: addr, hostname: lb.GetEndpoint().GetHostname(), priority: locality.GetPriority(),
				weight: max(1, u32(lb.GetLoadBalancingWeight(), 1)), health: lb.GetHealthStatus(),
			})
		}
	}
	return entries, nil
}

// install makes the entries the cluster's endpoints. Hosts whose address stays keep their connections and counts;
// those that go finish what they have.
func (c *cluster) install(entries []entry) {
	all := make([]*endpoint, 0, len(entries))
	wanted := map[address]bool{}
	healthy := 0
	for _, e := range entries {
		wanted[e.addr] = true
		ep := &endpoint{host: c.hostAt(e.addr, e.hostname), weight: e.weight, priority: e.priority, health: e.health}
		if ep.usable() {
			healthy++
		}
		all = append(all, ep)
	}
	c.hosts.Store(newHostSet(all))
	var gone []*host
	c.mu.Lock()
	for addr, h := range c.byAddr {
		if !wanted[addr] {
			gone = append(gone, h)
			delete(c.byAddr, addr)
		}
	}
	c.mu.Unlock()
	for _, h := range gone {
		h.drop()
	}
	c.scope.Gauge("membership_total").Set(int64(len(all)))
	c.scope.Gauge("membership_healthy").Set(int64(healthy))
	c.scope.Counter("membership_change").Inc()
}

// drop retires a host for good.
func (h *host) drop() {
	h.outlier.stop()
	h.readmit()
	h.cluster.set.retiring(h)
	h.retire()
}

// retire ends a cluster that was replaced or removed: nothing new is resolved, idle connections close, used ones when
// they are done.
func (c *cluster) retire() {
	c.mu.Lock()
	c.retired = true
	hosts := make([]*host, 0, len(c.byAddr))
	for _, h := range c.byAddr {
		hosts = append(hosts, h)
	}
	c.mu.Unlock()
	if c.waiting != nil {
		c.waiting.Stop()
	}
	c.dns.stop()
	for _, h := range hosts {
		h.drop()
	}
	c.scope.Close()
}

// checkDNS refuses what Envoy refuses of a DNS cluster.
func checkDNS(p *clusterv3.Cluster) error {
	if p.GetLoadAssignment() == nil {
		return errors.New("load_assignment is missing")
	}
	entries, err := readEndpoints(p.GetLoadAssignment().GetEndpoints(), true)
	if err != nil {
		return err
	}
	if p.GetType() == clusterv3.Cluster_LOGICAL_DNS && len(entries) != 1 {
		return errors.New("LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
	}
	return nil
}
