// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/x509"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// ClusterStatus is one cluster as GET /clusters shows it.
type ClusterStatus struct {
	Name               string
	StatName           string // alt_stat_name or the name
	MaxConnections     uint32 // circuit breakers of the default priority
	MaxPendingRequests uint32
	MaxRequests        uint32
	MaxRetries         uint32
	EDSServiceName     string
	Warming            bool
	Endpoints          []EndpointStatus
}

// EndpointStatus is one endpoint of a cluster.
type EndpointStatus struct {
	Address  string // "10.0.0.2:20001", or the path of a pipe
	Hostname string
	Health   corev3.HealthStatus
	Ejected  bool // by outlier detection
	Weight   uint32
	Priority uint32

	CxActive, CxConnectFail, CxTotal                 uint64
	RqActive, RqError, RqSuccess, RqTimeout, RqTotal uint64
}

// ListenerStatus is one listener as GET /listeners shows it.
type ListenerStatus struct {
	Name         string
	LocalAddress string // the bound address, with the real port
	Inbound      bool
	Warming      bool
	Accepting    bool
	Connections  int64 // open downstream connections
}

// CertStatus is one set of certificates as GET /certs shows it.
type CertStatus struct {
	Source string              // the path, or "<inline>"
	CA     []*x509.Certificate // trusted CAs of the context
	Chain  []*x509.Certificate // leaf first
}

// Clusters lists the active clusters and those still warming, by name.
func (e *Engine) Clusters() []ClusterStatus {
	e.clusters.mu.RLock()
	defer e.clusters.mu.RUnlock()
	var out []ClusterStatus
	for _, c := range e.clusters.active {
		out = append(out, c.status(false))
	}
	for _, c := range e.clusters.warming {
		out = append(out, c.status(true))
	}
	slices.SortStableFunc(out, func(a, b ClusterStatus) int { return compareStrings(a.Name, b.Name) })
	return out
}

func (c *cluster) status(warming bool) ClusterStatus {
	out := ClusterStatus{
		Name: c.name, StatName: c.statName, Warming: warming, EDSServiceName: c.proto.GetEdsClusterConfig().GetServiceName(),
		MaxConnections: c.breaker.connections, MaxPendingRequests: c.breaker.pending,
		MaxRequests: c.breaker.requests, MaxRetries: c.breaker.retries,
	}
	for _, e := range c.hosts.Load().all {
		out.Endpoints = append(out.Endpoints, EndpointStatus{
			Address: e.address.target, Hostname: e.hostname, Health: e.health, Ejected: e.outlier.out(),
			Weight: e.weight, Priority: e.priority,
			CxActive: uint64(e.cxActive.Load()), CxConnectFail: uint64(e.cxFail.Load()), CxTotal: uint64(e.cxTotal.Load()),
			RqActive: uint64(e.rqActive.Load()), RqError: uint64(e.rqError.Load()), RqSuccess: uint64(e.rqSuccess.Load()),
			RqTimeout: uint64(e.rqTimeout.Load()), RqTotal: uint64(e.rqTotal.Load()),
		})
	}
	return out
}

// Listeners lists the listeners by name.
func (e *Engine) Listeners() []ListenerStatus {
	e.listeners.mu.Lock()
	defer e.listeners.mu.Unlock()
	var out []ListenerStatus
	add := func(l *listener, warming bool) {
		s := ListenerStatus{
			Name: l.name, LocalAddress: l.port.bound.localAddr(), Inbound: l.shared.inbound,
			Warming: warming, Accepting: !warming && l.port.listening(),
		}
		for _, c := range l.all() {
			s.Connections += int64(c.count())
		}
		out = append(out, s)
	}
	for _, l := range e.listeners.active {
		add(l, false)
	}
	for _, l := range e.listeners.warming {
		add(l, true)
	}
	slices.SortStableFunc(out, func(a, b ListenerStatus) int { return compareStrings(a.Name, b.Name) })
	return out
}

// Certs lists the certificates of every TLS context in use, equal ones once.
func (e *Engine) Certs() []CertStatus {
	var materials []*material
	e.listeners.each(func(l *listener) {
		for _, c := range l.all() {
			if c.tls != nil {
				materials = append(materials, c.tls.material)
			}
		}
	})
	e.clusters.mu.RLock()
	for _, c := range e.clusters.active {
		if c.tls != nil {
			materials = append(materials, c.tls.material)
		}
	}
	e.clusters.mu.RUnlock()
	var out []CertStatus
	seen := map[string]bool{}
	for _, m := range materials {
		for _, s := range m.status() {
			key := s.key()
			if !seen[key] {
				seen[key] = true
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b CertStatus) int { return compareStrings(a.key(), b.key()) })
	return out
}

func (m *material) status() []CertStatus {
	var cas []*x509.Certificate
	if m.verify != nil {
		cas = m.verify.cas
	}
	if len(m.chains) == 0 && len(cas) > 0 {
		return []CertStatus{{Source: m.source, CA: cas}}
	}
	var out []CertStatus
	for _, chain := range m.chains {
		out = append(out, CertStatus{Source: m.source, CA: cas, Chain: chain})
	}
	return out
}

// key identifies the set.
func (s CertStatus) key() string {
	var b []byte
	for _, c := range slices.Concat(s.Chain, s.CA) {
		b = append(b, c.Raw...)
	}
	return s.Source + string(b)
}

// ActiveConnections is the number of open downstream connections of all listeners, draining ones included.
func (e *Engine) ActiveConnections() int64 {
	var n int64
	for _, l := range e.Listeners() {
		n += l.Connections
	}
	e.listeners.mu.Lock()
	defer e.listeners.mu.Unlock()
	for c := range e.listeners.draining {
		n += int64(c.count())
	}
	return n
}
