// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"math/rand/v2"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// outlierPolicy is ejection after consecutive 5xx answers or failed connections.
// Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
type outlierPolicy struct {
	consecutive    uint32
	enforcing      uint32 // percent
	baseTime       time.Duration
	maxTime        time.Duration
	maxPercent     uint32
	alwaysEjectOne bool
}

func u32(v *wrapperspb.UInt32Value, otherwise uint32) uint32 {
	if v == nil {
		return otherwise
	}
	return v.GetValue()
}

func duration(v *durationpb.Duration, otherwise time.Duration) time.Duration {
	if v == nil {
		return otherwise
	}
	return v.AsDuration()
}

func newOutlierPolicy(o *clusterv3.OutlierDetection) *outlierPolicy {
	if o == nil {
		return nil
	}
	p := &outlierPolicy{
		consecutive: u32(o.GetConsecutive_5Xx(), 5), enforcing: u32(o.GetEnforcingConsecutive_5Xx(), 100),
		baseTime: duration(o.GetBaseEjectionTime(), 30*time.Second), maxPercent: u32(o.GetMaxEjectionPercent(), 10),
		alwaysEjectOne: o.GetAlwaysEjectOneHost().GetValue(),
	}
	p.maxTime = max(duration(o.GetMaxEjectionTime(), 300*time.Second), p.baseTime)
	return p
}

// report takes the result of one request or connection into account.
func (h *host) report(failed bool) {
	p := h.cluster.outlier
	if p == nil {
		return
	}
	o := &h.outlier
	o.mu.Lock()
	defer o.mu.Unlock()
	if !failed {
		o.consecutive = 0
		return
	}
	if o.consecutive++; o.consecutive < p.consecutive || o.ejected {
		return
	}
	o.consecutive = 0
	h.cluster.scope.Counter("outlier_detection.ejections_detected_consecutive_5xx").Inc()
	if rand.Uint32N(100) >= p.enforcing {
		return
	}
	if !h.cluster.mayEject(p) {
		h.cluster.scope.Counter("outlier_detection.ejections_overflow").Inc()
		return
	}
	o.ejected = true
	o.ejections++
	o.timer = time.AfterFunc(min(p.baseTime*time.Duration(o.ejections), p.maxTime), h.readmit)
	h.cluster.scope.Counter("outlier_detection.ejections_enforced_total").Inc()
	h.cluster.scope.Counter("outlier_detection.ejections_enforced_consecutive_5xx").Inc()
	h.cluster.log.Info("host ejected", "cluster", h.cluster.name, "address", h.address.target)
}

// readmit ends an ejection.
func (h *host) readmit() {
	h.outlier.mu.Lock()
	defer h.outlier.mu.Unlock()
	if h.outlier.ejected {
		h.outlier.ejected = false
		h.cluster.ejected.Add(-1)
		h.cluster.scope.Gauge("outlier_detection.ejections_active").Dec()
	}
}

// mayEject reserves one more ejection unless that would exceed max_ejection_percent.
func (c *cluster) mayEject(p *outlierPolicy) bool {
	total := int64(len(c.hosts.Load().all))
	now := c.ejected.Add(1)
	if total > 0 && (now*100 <= total*int64(p.maxPercent) || (p.alwaysEjectOne && now == 1)) {
		c.scope.Gauge("outlier_detection.ejections_active").Inc()
		return true
	}
	c.ejected.Add(-1)
	return false
}
