// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"container/list"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// bytesPerAnswer times the number of answers is how much memory the cache
	// may take: an answer over TCP may have 64 KiB, a usual one has 200 bytes.
	bytesPerAnswer = 2 << 10
	// maxTTL keeps an answer from outliving what gave it a TTL of years.
	maxTTL = 24 * time.Hour
)

// freshness is what a kept answer is good for.
type freshness int

const (
	absent freshness = iota
	// stale: only while no server answers.
	stale
	// fresh: its TTL is not over.
	fresh
)

// cache keeps answers, the most recently used ones. With Consul's default TTL
// of 0 no answer is ever fresh: they are kept to be served stale. A nil cache
// keeps nothing.
type cache struct {
	maxEntries, maxBytes int
	stale                time.Duration

	mu      sync.Mutex
	byKey   map[string]*list.Element // of *entry
	recency *list.List               // most recent first
	bytes   int
}

type entry struct {
	key    string
	answer message // never written to
	ttlAt  []uint16
	kept   time.Time
	ttl    time.Duration
}

func (e *entry) size() int { return len(e.key) + len(e.answer) + 2*len(e.ttlAt) }

func newCache(entries int, stale time.Duration) *cache {
	if entries <= 0 {
		return nil
	}
	return &cache{
		maxEntries: entries, maxBytes: entries * bytesPerAnswer, stale: stale,
		byKey: map[string]*list.Element{}, recency: list.New(),
	}
}

// get gives a copy of the answer to key, with what remains of its TTLs: nothing
// of a stale one's, so that no client keeps it longer than the outage lasts.
func (c *cache) get(key string, now time.Time) (message, freshness) {
	if c == nil {
		return nil, absent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	element, found := c.byKey[key]
	if !found {
		return nil, absent
	}
	e := element.Value.(*entry)
	switch age := now.Sub(e.kept); {
	case age < e.ttl:
		c.recency.MoveToFront(element)
		return e.aged(age), fresh
	case age < e.ttl+c.stale:
		return e.aged(math.MaxInt64), stale
	default:
		c.remove(element)
		return nil, absent
	}
}

// aged gives a copy with the TTLs that are left at that age.
func (e *entry) aged(age time.Duration) message {
	out := slices.Clone(e.answer)
	seconds := uint32(min(age/time.Second, math.MaxUint32))
	for _, at := range e.ttlAt {
		ttl := binary.BigEndian.Uint32(out[at:])
		binary.BigEndian.PutUint32(out[at:], ttl-min(ttl, seconds))
	}
	return out
}

// put keeps an answer, if it is of a kind that may be kept.
func (c *cache) put(key string, answer message, now time.Time) {
	if c == nil {
		return
	}
	if rcode := answer.rcode(); rcode != rcodeSuccess && rcode != rcodeNameError {
		return
	}
	e := &entry{key: key, answer: answer, kept: now}
	var ok bool
	if e.ttl, e.ttlAt, ok = lifetime(answer); !ok || e.ttl+c.stale == 0 || e.size() > c.maxBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, found := c.byKey[key]; found {
		c.remove(old)
	}
	c.byKey[key] = c.recency.PushFront(e)
	c.bytes += e.size()
	for c.recency.Len() > c.maxEntries || c.bytes > c.maxBytes {
		c.remove(c.recency.Back())
	}
}

func (c *cache) remove(element *list.Element) {
	e := c.recency.Remove(element).(*entry)
	delete(c.byKey, e.key)
	c.bytes -= e.size()
}

// len is the number of answers kept, among them those whose time is over and
// that nobody has asked for since.
func (c *cache) len() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recency.Len()
}

// lifetime gives for how long an answer may be used and where its TTLs are. It
// is that of its shortest record; one that says no is good for as long as its
// SOA record says (RFC 2308, section 5), and without one for no time at all.
func lifetime(m message) (ttl time.Duration, ttlAt []uint16, ok bool) {
	off, err := m.skipQuestions()
	if err != nil {
		return 0, nil, false
	}
	shortest, says := uint32(math.MaxUint32), m.count(sectionAnswer) > 0
	for r, err := range m.records(off) {
		switch {
		case err != nil:
			return 0, nil, false
		case r.kind == typeOPT: // its TTL field is none
			continue
		case r.kind == typeSOA && r.section == sectionAuthority:
			says = true
			shortest = min(shortest, r.soaMinimum(m))
		}
		ttlAt = append(ttlAt, uint16(r.ttlAt))
		shortest = min(shortest, r.ttl(m))
	}
	if !says {
		return 0, ttlAt, true
	}
	return min(time.Duration(shortest)*time.Second, maxTTL), ttlAt, true
}
