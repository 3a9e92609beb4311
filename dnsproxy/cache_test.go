// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// pack packs an answer to a question of ID 0 with records in zone file form.
func pack(t testing.TB, rcode int, answer, authority, additional []string) message {
	t.Helper()
	m := new(dns.Msg).SetRcode(&dns.Msg{Question: []dns.Question{{Name: "a.consul.", Qtype: dns.TypeA, Qclass: 1}}}, rcode)
	m.Compress = true
	for section, records := range map[*[]dns.RR][]string{&m.Answer: answer, &m.Ns: authority, &m.Extra: additional} {
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			*section = append(*section, rr)
		}
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	soa := func(ttl, minimum int) string {
		return fmt.Sprintf("consul. %d IN SOA ns.consul. hostmaster.consul. 1 2 3 4 %d", ttl, minimum)
	}
	type records = []string
	withOPT := new(dns.Msg).SetReply(question("a.consul.", dns.TypeA))
	withOPT.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "a.consul.", Rrtype: 1, Class: 1, Ttl: 60}, A: []byte{1, 2, 3, 4}}}
	withOPT.SetEdns0(4096, false)
	optPacked, _ := withOPT.Pack()
	tests := map[string]struct {
		m      message
		want   time.Duration
		ttls   int
		broken bool
	}{
		"one record":         {m: pack(t, 0, records{"a.consul. 10 IN A 1.2.3.4"}, nil, nil), want: 10 * time.Second, ttls: 1},
		"shortest of all":    {m: pack(t, 0, records{"a.consul. 10 IN A 1.2.3.4"}, nil, records{"b.consul. 5 IN A 1.2.3.4"}), want: 5 * time.Second, ttls: 2},
		"zero":               {m: pack(t, 0, records{"a.consul. 0 IN A 1.2.3.4", "a.consul. 9 IN A 1.2.3.5"}, nil, nil), ttls: 2},
		"TTL of years":       {m: pack(t, 0, records{"a.consul. 99999999 IN A 1.2.3.4"}, nil, nil), want: maxTTL, ttls: 1},
		"negative TTL":       {m: pack(t, 0, records{"a.consul. 4294967295 IN A 1.2.3.4"}, nil, nil), ttls: 1},
		"unknown name":       {m: pack(t, 3, nil, records{soa(60, 20)}, nil), want: 20 * time.Second, ttls: 1},
		"SOA's TTL less":     {m: pack(t, 3, nil, records{soa(7, 20)}, nil), want: 7 * time.Second, ttls: 1},
		"no such type":       {m: pack(t, 0, nil, records{soa(60, 30)}, nil), want: 30 * time.Second, ttls: 1},
		"negative, no SOA":   {m: pack(t, 3, nil, nil, nil)},
		"only additional":    {m: pack(t, 0, nil, nil, records{"b.consul. 5 IN A 1.2.3.4"}), ttls: 1},
		"OPT does not count": {m: optPacked, want: time.Minute, ttls: 1},
		"cut":                {m: pack(t, 0, records{"a.consul. 10 IN A 1.2.3.4"}, nil, nil)[:40], broken: true},
		"question cut":       {m: pack(t, 0, nil, nil, nil)[:14], broken: true},
	}
	for name, test := range tests {
		ttl, ttlAt, ok := lifetime(test.m)
		if ok == test.broken || ok && (ttl != test.want || len(ttlAt) != test.ttls) {
			t.Errorf("%s: %v, %d TTLs, ok %v", name, ttl, len(ttlAt), ok)
		}
	}
}

func TestCacheAges(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	c := newCache(10, 30*time.Second)
	c.put("k", pack(t, 0, []string{"a.consul. 10 IN A 1.2.3.4", "a.consul. 60 IN A 1.2.3.5"}, nil, nil), begin)
	tests := map[string]struct {
		age  time.Duration
		want freshness
		ttls [2]uint32
	}{
		"new":           {0, fresh, [2]uint32{10, 60}},
		"aged":          {3900 * time.Millisecond, fresh, [2]uint32{7, 57}},
		"last moment":   {10*time.Second - 1, fresh, [2]uint32{1, 51}},
		"stale":         {10 * time.Second, stale, [2]uint32{0, 0}},
		"stale, at end": {40*time.Second - 1, stale, [2]uint32{0, 0}},
	}
	for name, test := range tests {
		raw, state := c.get("k", begin.Add(test.age))
		m := new(dns.Msg)
		if err := m.Unpack(raw); err != nil || state != test.want {
			t.Errorf("%s: state %v, error %v", name, state, err)
			continue
		}
		if got := [2]uint32{m.Answer[0].Header().Ttl, m.Answer[1].Header().Ttl}; got != test.ttls {
			t.Errorf("%s: TTLs %v", name, got)
		}
	}
	if _, state := c.get("k", begin.Add(40*time.Second)); state != absent || c.len() != 0 {
		t.Errorf("state %v and %d answers when all time is over", state, c.len())
	}
}

func TestCacheKeepsOnlyWhatItMay(t *testing.T) {
	t.Parallel()
	good := pack(t, 0, []string{"a.consul. 10 IN A 1.2.3.4"}, nil, nil)
	zero := pack(t, 0, []string{"a.consul. 0 IN A 1.2.3.4"}, nil, nil)
	tests := map[string]struct {
		cache *cache
		m     message
		want  int
	}{
		"turned off":            {newCache(0, time.Minute), good, 0},
		"good":                  {newCache(1, 0), good, 1},
		"TTL 0, never stale":    {newCache(1, 0), zero, 0},
		"TTL 0, to serve stale": {newCache(1, time.Minute), zero, 1},
		"unknown name":          {newCache(1, time.Minute), pack(t, 3, nil, nil, nil), 1},
		"server failure":        {newCache(1, time.Minute), pack(t, 2, nil, nil, nil), 0},
		"refused":               {newCache(1, time.Minute), pack(t, 5, nil, nil, nil), 0},
		"larger than all of it": {newCache(1, time.Minute), append(good, make([]byte, bytesPerAnswer)...), 0},
		"unreadable":            {newCache(1, time.Minute), good[:len(good)-1], 0},
	}
	for name, test := range tests {
		test.cache.put("k", test.m, time.Now())
		if got := test.cache.len(); got != test.want {
			t.Errorf("%s: %d kept", name, got)
		}
	}
}

func TestCacheBounds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	answer := pack(t, 0, []string{"a.consul. 10 IN A 1.2.3.4"}, nil, nil)
	c := newCache(3, 0)
	for i := range 5 {
		c.put(fmt.Sprint(i), answer, now)
		c.get("0", now) // the one in use
		c.put("0", answer, now)
	}
	if _, state := c.get("0", now); state != fresh || c.len() != 3 {
		t.Errorf("%d answers, the one in use is %v", c.len(), state)
	}
	if _, state := c.get("2", now); state != absent {
		t.Error("the least recently used one is still there")
	}
	c = newCache(100, 0)
	large := append(answer, make([]byte, 20<<10)...)
	for i := range 100 {
		c.put(fmt.Sprint(i), large, now)
	}
	if c.bytes > c.maxBytes || c.len() < 5 {
		t.Errorf("%d answers of %d bytes", c.len(), c.bytes)
	}
	for i := range 100 {
		c.get(fmt.Sprint(i), now.Add(time.Minute))
	}
	if c.bytes != 0 || c.len() != 0 {
		t.Errorf("%d answers, %d bytes left over", c.len(), c.bytes)
	}
}
