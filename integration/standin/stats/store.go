// SPDX-License-Identifier: MPL-2.0

package stats

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
)

// Kind says what a statistic is.
type Kind int

// The kinds of statistics that Envoy has.
const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
)

// Counter only ever grows (until ResetCounters).
type Counter struct {
	value atomic.Uint64
	used  atomic.Bool
}

// Inc adds one.
func (c *Counter) Inc() { c.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) {
	c.value.Add(n)
	c.used.Store(true)
}

// Value is the present count.
func (c *Counter) Value() uint64 { return c.value.Load() }

// Gauge goes up and down.
type Gauge struct {
	value atomic.Int64
	used  atomic.Bool
}

// Inc adds one.
func (g *Gauge) Inc() { g.Add(1) }

// Dec takes one away.
func (g *Gauge) Dec() { g.Add(-1) }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) {
	g.value.Add(n)
	g.used.Store(true)
}

// Set replaces the value.
func (g *Gauge) Set(n int64) {
	g.value.Store(n)
	g.used.Store(true)
}

// Value is the present value.
func (g *Gauge) Value() int64 { return g.value.Load() }

// Store holds every statistic of one process. It is safe for concurrent use.
type Store struct {
	tags    *extractor
	matcher *nameFilter
	buckets *bucketRules

	mu      sync.RWMutex
	entries map[string]*entry
}

// entry is a named statistic and the number of scopes that hold it.
type entry struct {
	kind      Kind
	counter   *Counter
	gauge     *Gauge
	histogram *Histogram
	holders   int
}

// New makes a store for a bootstrap's stats_config, which may be nil. The error names the tag, matcher or bucket
// setting that Envoy would refuse.
func New(cfg *metricsv3.StatsConfig) (*Store, error) {
	tags, err := newExtractor(cfg)
	if err != nil {
		return nil, fmt.Errorf("stats_config: %w", err)
	}
	matcher, err := newNameFilter(cfg.GetStatsMatcher())
	if err != nil {
		return nil, fmt.Errorf("stats_config: stats_matcher: %w", err)
	}
	buckets, err := newBucketRules(cfg.GetHistogramBucketSettings())
	if err != nil {
		return nil, fmt.Errorf("stats_config: histogram_bucket_settings: %w", err)
	}
	return &Store{tags: tags, matcher: matcher, buckets: buckets, entries: map[string]*entry{}}, nil
}

// hold returns the entry of that name and kind and counts one more holder. A name that exists with another kind gets a
// detached statistic: Envoy keeps kinds in separate name spaces, and no Envoy statistic has two kinds.
func (s *Store) hold(name string, kind Kind) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[name]; ok && e.kind == kind {
		e.holders++
		return e
	}
	e := &entry{kind: kind, holders: 1}
	switch kind {
	case KindCounter:
		e.counter = &Counter{}
	case KindGauge:
		e.gauge = &Gauge{}
	case KindHistogram:
		e.histogram = newHistogram(s.buckets.boundsFor(name))
	}
	if _, taken := s.entries[name]; !taken && s.matcher.allows(name) {
		s.entries[name] = e
	}
	return e
}

// release drops one holder of each name.
func (s *Store) release(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		e, ok := s.entries[name]
		if !ok {
			continue
		}
		if e.holders--; e.holders <= 0 {
			delete(s.entries, name)
		}
	}
}

// ResetCounters sets every counter to zero, as POST /reset_counters does.
func (s *Store) ResetCounters() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.entries {
		if e.kind == KindCounter {
			e.counter.value.Store(0)
			e.counter.used.Store(false)
		}
	}
}

// Value returns the value of a counter or gauge by its full name, and whether it exists.
func (s *Store) Value(name string) (int64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.entries[name]
	if !ok {
		return 0, false
	}
	switch e.kind {
	case KindCounter:
		return int64(e.counter.Value()), true
	case KindGauge:
		return e.gauge.Value(), true
	default:
		return 0, false
	}
}

// names returns every name, sorted.
func (s *Store) names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.entries))
	for name := range s.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
