// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	aggregatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"podplane/integration/standin/stats"
)

// httpMode is the protocol that a cluster's HTTP requests use.
type httpMode int

const (
	modeHTTP1 httpMode = iota
	modeHTTP2
	modeDownstream // whatever the request came with
)

// cluster is one accepted version of a cluster. An update makes a new one; this one then ends as its users finish.
type cluster struct {
	name, statName string
	proto          *clusterv3.Cluster
	set            *clusterSet
	life           *life
	log            hclog.Logger
	scope          *stats.Scope

	tls              *tlsContext
	mode             httpMode
	connectTimeout   time.Duration
	panicThreshold   float64 // percent
	overprovisioning atomic.Uint32
	balancer         *balancer
	outlier          *outlierPolicy
	breaker          breaker
	aggregate        []string
	originalDst      bool
	edsName          string // empty: not EDS
	fetchTimeout     time.Duration

	hosts   atomic.Pointer[hostSet]
	ejected atomic.Int64
	dns     *resolver   // of DNS clusters, once started
	waiting *time.Timer // of a warming EDS cluster; owned by the set

	mu      sync.Mutex
	byAddr  map[address]*host
	retired bool
}

// breaker is the circuit breaker of the default priority.
type breaker struct {
	connections, pending, requests, retries uint32
	activeRetries                           atomic.Int64
}

// newCluster validates and compiles a cluster; it starts nothing.
func newCluster(p *clusterv3.Cluster, set *clusterSet) (*cluster, error) {
	if err := check(p); err != nil {
		return nil, err
	}
	c := &cluster{
		name: p.GetName(), statName: p.GetAltStatName(), proto: proto.CloneOf(p), set: set, life: set.life, log: set.log,
		connectTimeout: duration(p.GetConnectTimeout(), 5*time.Second), panicThreshold: 50,
		balancer: &balancer{policy: p.GetLbPolicy(), choices: int(u32(p.GetLeastRequestLbConfig().GetChoiceCount(), 2))},
		outlier:  newOutlierPolicy(p.GetOutlierDetection()), byAddr: map[address]*host{},
	}
	c.overprovisioning.Store(140)
	c.hosts.Store(newHostSet(nil))
	c.readThresholds()
	if c.statName == "" {
		c.statName = c.name
	}
	if t := p.GetCommonLbConfig().GetHealthyPanicThreshold(); t != nil {
		c.panicThreshold = t.GetValue()
	}
	if err := errors.Join(c.readType(), c.readHTTP()); err != nil {
		return nil, err
	}
	var err error
	if c.tls, err = newUpstreamTLS(p.GetTransportSocket(), set.secret); err != nil {
		return nil, err
	}
	c.scope = set.stats.Scope("cluster." + strings.ReplaceAll(c.statName, ":", "_") + ".")
	c.declareStats()
	if c.edsName == "" && !c.isDNS() && p.GetLoadAssignment() != nil {
		return c, c.apply(p.GetLoadAssignment().GetEndpoints())
	}
	return c, nil
}

// readType refuses cluster types and combinations that Envoy refuses.
func (c *cluster) readType() error {
	p := c.proto
	if custom := p.GetClusterType(); custom != nil {
		m, err := unpack(custom.GetTypedConfig())
		if err != nil {
			return err
		}
		a, ok := m.(*aggregatev3.ClusterConfig)
		if !ok {
			return envoyError("Didn't find a registered cluster factory implementation for name: '%s'", custom.GetName())
		}
		if p.GetLbPolicy() != clusterv3.Cluster_CLUSTER_PROVIDED {
			return fmt.Errorf("cluster: LB policy %s is not valid for cluster type %s. Only 'CLUSTER_PROVIDED' is allowed with cluster type 'AGGREGATE'",
				p.GetLbPolicy(), custom.GetName())
		}
		c.aggregate = a.GetClusters()
		return nil
	}
	switch p.GetType() {
	case clusterv3.Cluster_EDS:
		return c.readEDS()
	case clusterv3.Cluster_ORIGINAL_DST:
		c.originalDst = true
		if p.GetLbPolicy() != clusterv3.Cluster_CLUSTER_PROVIDED {
			return fmt.Errorf("cluster: LB policy %s is not valid for Cluster type ORIGINAL_DST. Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'", p.GetLbPolicy())
		}
		return nil
	}
	if p.GetEdsClusterConfig() != nil {
		return errors.New("eds_cluster_config set in a non-EDS cluster")
	}
	if p.GetLbPolicy() == clusterv3.Cluster_CLUSTER_PROVIDED || p.GetLbPolicy() == clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG {
		return fmt.Errorf("cluster: LB policy %s is not supported for cluster type %s", p.GetLbPolicy(), p.GetType())
	}
	if c.isDNS() {
		return checkDNS(p)
	}
	return nil
}

func (c *cluster) readEDS() error {
	cfg := c.proto.GetEdsClusterConfig()
	if cfg.GetEdsConfig().GetAds() == nil {
		return fmt.Errorf("cluster '%s': eds_config must name ads as its source", c.name)
	}
	if c.edsName = cfg.GetServiceName(); c.edsName == "" {
		c.edsName = c.name
	}
	c.fetchTimeout = duration(cfg.GetEdsConfig().GetInitialFetchTimeout(), defaultFetchTimeout)
	return nil
}

func (c *cluster) isDNS() bool {
	if c.proto.GetClusterType() != nil {
		return false
	}
	t := c.proto.GetType()
	return t == clusterv3.Cluster_STRICT_DNS || t == clusterv3.Cluster_LOGICAL_DNS
}

// readThresholds takes the circuit breakers, whose defaults are 1024, 1024, 1024 and 3.
func (c *cluster) readThresholds() {
	c.breaker.connections, c.breaker.pending, c.breaker.requests, c.breaker.retries = 1024, 1024, 1024, 3
	for _, t := range c.proto.GetCircuitBreakers().GetThresholds() {
		if t.GetPriority() != corev3.RoutingPriority_DEFAULT {
			continue
		}
		c.breaker.connections = u32(t.GetMaxConnections(), 1024)
		c.breaker.pending = u32(t.GetMaxPendingRequests(), 1024)
		c.breaker.requests = u32(t.GetMaxRequests(), 1024)
		c.breaker.retries = u32(t.GetMaxRetries(), 3)
	}
}

func (c *cluster) readHTTP() error {
	if c.proto.GetHttp2ProtocolOptions() != nil { //nolint:staticcheck // deprecated, and still sent by some
		c.mode = modeHTTP2
	}
	for name, packed := range c.proto.GetTypedExtensionProtocolOptions() {
		m, err := unpack(packed)
		if err != nil {
			return err
		}
		o, ok := m.(*httpv3.HttpProtocolOptions)
		if !ok {
			return unknownExtension(name, packed.GetTypeUrl())
		}
		switch {
		case o.GetUseDownstreamProtocolConfig() != nil:
			c.mode = modeHTTP1
			if o.GetUseDownstreamProtocolConfig().GetHttp2ProtocolOptions() != nil {
				c.mode = modeDownstream
			}
		case o.GetExplicitHttpConfig().GetHttp2ProtocolOptions() != nil:
			c.mode = modeHTTP2
		}
	}
	return nil
}

// declareStats makes the usual statistics visible before there is traffic.
func (c *cluster) declareStats() {
	for _, name := range []string{
		"upstream_cx_total", "upstream_cx_connect_fail", "upstream_cx_connect_timeout", "upstream_cx_overflow",
		"upstream_cx_none_healthy", "upstream_cx_http1_total", "upstream_cx_http2_total", "upstream_cx_destroy",
		"upstream_cx_rx_bytes_total", "upstream_cx_tx_bytes_total", "upstream_rq_total", "upstream_rq_completed",
		"upstream_rq_pending_overflow", "upstream_rq_pending_failure_eject", "upstream_rq_retry",
		"upstream_rq_retry_success", "upstream_rq_timeout", "upstream_rq_per_try_timeout", "upstream_rq_tx_reset",
		"upstream_rq_rx_reset", "membership_change", "bind_errors", "lb_healthy_panic",
	} {
		c.scope.Counter(name)
	}
	for _, name := range []string{
		"upstream_cx_active", "upstream_rq_active", "upstream_rq_pending_active", "membership_total", "membership_healthy",
	} {
		c.scope.Gauge(name)
	}
	if c.tls != nil {
		sslStats{c.scope}.declare()
	}
}

// pickOriginal is the host of a connection's own destination.
func (c *cluster) pickOriginal(dst netip.AddrPort) *endpoint {
	if !dst.IsValid() {
		return nil
	}
	return &endpoint{host: c.hostAt(address{network: "tcp", target: dst.String()}, ""), weight: 1}
}

// hostAt returns the host of an address, made on first use.
func (c *cluster) hostAt(addr address, hostname string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.byAddr[addr]
	if !ok {
		h = newHost(c, addr, hostname)
		h.retired = c.retired
		c.byAddr[addr] = h
	}
	return h
}
