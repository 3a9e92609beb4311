// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// TestDay lives through a day of a query a second, most of them for names that
// were never asked for before, with an outage of a minute in each hour: what is
// kept does not grow. It does not run in parallel, as it looks at the memory of
// the process.
func TestDay(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		const size = 100
		begin := time.Now()
		up := func(_ context.Context, q *query) (message, error) {
			if time.Since(begin)%time.Hour < time.Minute {
				return nil, errNoServer
			}
			return answering(t, q, uint32(time.Since(begin)/time.Second%7)), nil
		}
		s, _ := resolving(t, Config{CacheSize: size, Stale: 30 * time.Second}, up)
		var memory []uint64
		for second := range 24 * 3600 {
			name := "often.service.consul."
			if second%4 != 0 {
				name = fmt.Sprintf("n%d.service.consul.", second)
			}
			packet, _ := question(name, dns.TypeA).Pack()
			q, _ := parseQuery(packet, overUDP)
			resolveNow(t.Context(), s, q)
			time.Sleep(time.Second)
			if second%(6*3600) == 3600 {
				memory = append(memory, heap())
			}
		}
		synctest.Wait() // for what follows an answer
		if n := s.cache.len(); n > size {
			t.Errorf("%d answers kept", n)
		}
		s.flights.mu.Lock()
		defer s.flights.mu.Unlock()
		if n := len(s.flights.byKey); n != 0 {
			t.Errorf("%d queries under way", n)
		}
		t.Logf("heap every six hours: %d KiB", memory)
		if first, last := memory[0], memory[len(memory)-1]; last > first+256 {
			t.Errorf("the heap grew from %d to %d KiB", first, last)
		}
	})
	eventually(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// heap is what is in use, in KiB.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one's finalizers held
	runtime.ReadMemStats(&m)
	return m.HeapAlloc >> 10
}
