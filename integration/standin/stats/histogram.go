// SPDX-License-Identifier: MPL-2.0

package stats

import (
	"fmt"
	"sort"
	"sync"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"

	"podplane/integration/standin/strmatch"
)

// Histogram counts observations (milliseconds, unless its name says otherwise) in buckets. Envoy keeps finer
// histograms inside and shows these buckets; quantiles are here interpolated from the buckets.
type Histogram struct {
	bounds []float64

	mu     sync.Mutex
	counts []uint64 // one per bound, and one for everything above
	count  uint64
	sum    float64
}

func newHistogram(bounds []float64) *Histogram {
	return &Histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

// Record adds one observation.
func (h *Histogram) Record(v float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[sort.SearchFloat64s(h.bounds, v)]++
	h.count++
	h.sum += v
}

// HistogramValue is what a histogram holds at one moment.
type HistogramValue struct {
	Bounds     []float64 // upper bounds, ascending
	Cumulative []uint64  // observations at or below each bound
	Count      uint64
	Sum        float64
}

// Value returns the present content.
func (h *Histogram) Value() HistogramValue {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := HistogramValue{Bounds: h.bounds, Cumulative: make([]uint64, len(h.bounds)), Count: h.count, Sum: h.sum}
	var running uint64
	for i := range h.bounds {
		running += h.counts[i]
		v.Cumulative[i] = running
	}
	return v
}

// Quantile returns the q-quantile (0 to 1) by linear interpolation inside the bucket.
func (v HistogramValue) Quantile(q float64) float64 {
	if v.Count == 0 {
		return 0
	}
	target := q * float64(v.Count)
	lower, before := 0.0, uint64(0)
	for i, c := range v.Cumulative {
		if float64(c) >= target && c > before {
			return lower + (v.Bounds[i]-lower)*(target-float64(before))/float64(c-before)
		}
		lower, before = v.Bounds[i], c
	}
	return lower
}

// bucketRules choose the bucket bounds of a histogram by its name.
type bucketRules struct {
	rules []bucketRule
}

type bucketRule struct {
	match  strmatch.Func
	bounds []float64
}

// defaultBounds are Envoy's: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/metrics/v3/stats.proto
func defaultBounds() []float64 {
	return []float64{
		0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
	}
}

func newBucketRules(settings []*metricsv3.HistogramBucketSettings) (*bucketRules, error) {
	r := &bucketRules{}
	for _, s := range settings {
		m, err := strmatch.New(s.GetMatch())
		if err != nil {
			return nil, err
		}
		if len(s.GetBuckets()) == 0 {
			return nil, fmt.Errorf("buckets are missing")
		}
		bounds := append([]float64(nil), s.GetBuckets()...)
		sort.Float64s(bounds)
		r.rules = append(r.rules, bucketRule{match: m, bounds: bounds})
	}
	return r, nil
}

func (r *bucketRules) boundsFor(name string) []float64 {
	for _, rule := range r.rules {
		if rule.match(name) {
			return rule.bounds
		}
	}
	return defaultBounds()
}
