// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// lbContext is what a choice of host may depend on.
type lbContext struct {
	hash        uint64
	hashed      bool
	originalDst netip.AddrPort
	tried       map[*host]bool // hosts that a retry should avoid
}

// hostSet is the endpoints of one cluster at one moment. It is never changed, only replaced.
type hostSet struct {
	all    []*endpoint
	levels [][]*endpoint // by priority
}

func newHostSet(all []*endpoint) *hostSet {
	set := &hostSet{all: all}
	for _, e := range all {
		for int(e.priority) >= len(set.levels) {
			set.levels = append(set.levels, nil)
		}
		set.levels[e.priority] = append(set.levels[e.priority], e)
	}
	return set
}

// level is one priority as the balancer sees it.
type level struct {
	cluster *cluster
	all     []*endpoint
	healthy []*endpoint
}

func newLevel(c *cluster, endpoints []*endpoint) level {
	l := level{cluster: c, all: endpoints}
	for _, e := range endpoints {
		if e.usable() && !e.outlier.out() {
			l.healthy = append(l.healthy, e)
		}
	}
	return l
}

// health is the level's share of the traffic that it can take, in percent: all of it while 1/1.4 of its hosts are
// healthy (overprovisioning factor 140).
// Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
func (l level) health() uint32 {
	if len(l.all) == 0 {
		return 0
	}
	return min(100, l.cluster.overprovisioning.Load()*uint32(len(l.healthy))/uint32(len(l.all)))
}

// panics says whether so few hosts are healthy that health is disregarded.
func (l level) panics() bool {
	return len(l.all) > 0 && float64(len(l.healthy)*100) < l.cluster.panicThreshold*float64(len(l.all))
}

// pickLevel spreads load over the priorities: each takes what it can of what those above it left over.
func pickLevel(levels []level) (level, bool) {
	var total uint32
	for _, l := range levels {
		total += l.health()
	}
	if total == 0 {
		for _, l := range levels {
			if l.panics() {
				return l, true
			}
		}
		return level{}, false
	}
	draw, left := rand.Uint32N(min(100, total)), uint32(100)
	for _, l := range levels {
		share := min(left, l.health())
		if draw < share {
			return l, true
		}
		draw -= share
		left -= share
	}
	return level{}, false
}

// pick chooses a host of the cluster, or of those it aggregates. A nil host means that none is healthy.
func (c *cluster) pick(ctx lbContext) *endpoint {
	if c.originalDst {
		return c.pickOriginal(ctx.originalDst)
	}
	l, ok := pickLevel(c.levels(0))
	if !ok {
		return nil
	}
	candidates := l.healthy
	if l.panics() {
		l.cluster.scope.Counter("lb_healthy_panic").Inc()
		candidates = l.all
	}
	return l.cluster.balancer.pick(untried(candidates, ctx.tried), ctx)
}

// maxAggregation bounds clusters that aggregate each other in a circle.
const maxAggregation = 8

// levels are the cluster's priorities, or those of the clusters that it aggregates one after the other.
func (c *cluster) levels(depth int) []level {
	if len(c.aggregate) == 0 {
		var out []level
		for _, endpoints := range c.hosts.Load().levels {
			out = append(out, newLevel(c, endpoints))
		}
		return out
	}
	var out []level
	for _, name := range c.aggregate {
		if inner := c.set.get(name); inner != nil && depth < maxAggregation {
			out = append(out, inner.levels(depth+1)...)
		}
	}
	return out
}

// untried leaves out hosts that were tried already, unless nothing would remain.
func untried(candidates []*endpoint, tried map[*host]bool) []*endpoint {
	if len(tried) == 0 {
		return candidates
	}
	var fresh []*endpoint
	for _, e := range candidates {
		if !tried[e.host] {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return candidates
	}
	return fresh
}

// balancer chooses among equals.
type balancer struct {
	policy  clusterv3.Cluster_LbPolicy
	choices int // of LEAST_REQUEST

	mu      sync.Mutex
	current map[*host]int64 // smooth weighted round robin
}

func (b *balancer) pick(candidates []*endpoint, ctx lbContext) *endpoint {
	if len(candidates) == 0 {
		return nil
	}
	switch b.policy {
	case clusterv3.Cluster_RANDOM:
		return weighted(candidates)
	case clusterv3.Cluster_LEAST_REQUEST:
		return b.leastRequest(candidates)
	case clusterv3.Cluster_RING_HASH, clusterv3.Cluster_MAGLEV:
		if ctx.hashed {
			return rendezvous(candidates, ctx.hash)
		}
		return weighted(candidates)
	default:
		return b.roundRobin(candidates)
	}
}

// roundRobin interleaves hosts by weight: the one that is most in arrears goes next.
func (b *balancer) roundRobin(candidates []*endpoint) *endpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	var total int64
	var best *endpoint
	next := make(map[*host]int64, len(candidates))
	for _, e := range candidates {
		next[e.host] = b.current[e.host] + int64(e.weight)
		total += int64(e.weight)
		if best == nil || next[e.host] > next[best.host] {
			best = e
		}
	}
	next[best.host] -= total
	b.current = next
	return best
}

// leastRequest draws a few hosts and takes the one with the fewest active requests.
func (b *balancer) leastRequest(candidates []*endpoint) *endpoint {
	var best *endpoint
	for range b.choices {
		e := weighted(candidates)
		if best == nil || e.rqActive.Load() < best.rqActive.Load() {
			best = e
		}
	}
	return best
}

func weighted(candidates []*endpoint) *endpoint {
	var total uint64
	for _, e := range candidates {
		total += uint64(e.weight)
	}
	draw := rand.Uint64N(total)
	for _, e := range candidates {
		if draw < uint64(e.weight) {
			return e
		}
		draw -= uint64(e.weight)
	}
	return candidates[len(candidates)-1]
}

// rendezvous is consistent hashing without a ring: each host scores the hash, the highest wins, so that a host that
// comes or goes moves only its own share. Seen from outside that is what RING_HASH and MAGLEV promise.
func rendezvous(candidates []*endpoint, hash uint64) *endpoint {
	var best *endpoint
	bestScore := math.Inf(-1)
	for _, e := range candidates {
		h := fnv.New64a()
		_, _ = h.Write([]byte(e.address.target)) // fnv never fails
		mixed := mix(h.Sum64() ^ hash)
		unit := (float64(mixed>>11) + 0.5) / (1 << 53)
		if score := -float64(e.weight) / math.Log(unit); score > bestScore {
			best, bestScore = e, score
		}
	}
	return best
}

// mix spreads the bits of x (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
