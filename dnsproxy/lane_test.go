// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// resolveLater resolves a question whose answer goes to w.
func resolveLater(t *testing.T, s *Server, name string, w waiter) {
	t.Helper()
	packet, _ := question(name, dns.TypeA).Pack()
	s.start(t.Context(), request{packet: packet, arrived: time.Now(), from: w}, &outbox{s: s})
}

// TestLanes: so many questions are asked at a time, the first to come first, and
// those for the recursors and those for Consul do not wait for each other.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []string
		hold := make(chan struct{})
		s, _ := resolving(t, Config{Recursors: []string{"192.0.2.1:53"}}, func(_ context.Context, q *query) (message, error) {
			mu.Lock()
			asked = append(asked, q.name)
			mu.Unlock()
			<-hold
			return answering(t, q, 0), nil
		})
		const waiting = 50
		w := make(waiter, 2*(maxCalls+maxOutside))
		for i := range maxCalls + waiting {
			resolveLater(t, s, fmt.Sprintf("n%d.consul.", i), w)
			synctest.Wait()
		}
		if len(asked) != maxCalls {
			t.Errorf("%d asked at a time, want %d", len(asked), maxCalls)
		}
		for i := range maxOutside + waiting {
			resolveLater(t, s, fmt.Sprintf("n%d.example.", i), w)
		}
		synctest.Wait()
		if len(asked) != maxCalls+maxOutside {
			t.Errorf("%d asked of both, want %d", len(asked), maxCalls+maxOutside)
		}
		for range waiting {
			hold <- struct{}{}
			synctest.Wait()
		}
		close(hold)
		s.tasks.Wait()
		if n := len(w); n != maxCalls+maxOutside+2*waiting {
			t.Errorf("%d answers", n)
		}
		inside := slices.DeleteFunc(asked, func(name string) bool { return name[len(name)-7:] != "consul." })
		for i, name := range inside {
			if want := fmt.Sprintf("n%d.consul.", i); name != want {
				t.Fatalf("%s asked as number %d", name, i)
			}
		}
	})
}

// TestWaitingForATurnIsBounded: with all calls hanging, a query has its answer
// when its own time is over, wherever it waits.
func TestWaitingForATurnIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := resolving(t, Config{}, func(ctx context.Context, _ *query) (message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		const every = 5 * time.Millisecond
		for i := range 3 * maxCalls {
			begin := time.Now()
			packet, _ := question(fmt.Sprintf("n%d.consul.", i), dns.TypeA).Pack()
			q, _ := parseQuery(packet, overUDP)
			s.tasks.Go(func() {
				answer := resolveNow(t.Context(), s, q)
				if took := time.Since(begin); answer.rcode() != rcodeServerFailure || took != DefaultTimeout {
					t.Errorf("query %d: rcode %d after %s", i, answer.rcode(), took)
				}
			})
			time.Sleep(every)
		}
		s.tasks.Wait()
	})
}
