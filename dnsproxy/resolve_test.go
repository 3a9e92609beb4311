// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdns"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// upstreamFunc is an upstream in the place of all of them, so that time can be
// the test's own.
type upstreamFunc func(ctx context.Context, q *query) (message, error)

func (f upstreamFunc) exchange(ctx context.Context, q *query) (message, error) { return f(ctx, q) }

var errNoServer = errors.New("no server")

// resolving is a server without sockets.
func resolving(t *testing.T, c Config, up upstreamFunc) (*Server, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	c.Registerer, c.Conn = reg, unusedConn{}
	s := newServer(t, c)
	_ = s.Close()
	s.upstream = up
	return s, reg
}

// waiter is a client that waits for its answer.
type waiter chan message

func (w waiter) answer(m message, _ *outbox) { w <- m }
func (w waiter) done()                       {}

// resolveNow resolves a query and waits for the answer.
func resolveNow(ctx context.Context, s *Server, q *query) message {
	w := make(waiter, 1)
	s.resolve(ctx, asker{request: request{via: q.transport, arrived: time.Now(), from: w}, q: q}, &outbox{s: s})
	return <-w
}

// resolveMsg resolves a question and decodes the answer.
func resolveMsg(t *testing.T, s *Server, id uint16) *dns.Msg {
	t.Helper()
	m := question("a.consul.", dns.TypeA)
	m.Id = id
	packet, _ := m.Pack()
	q, rcode := parseQuery(packet, overUDP)
	if rcode != rcodeSuccess {
		t.Fatalf("rcode %d", rcode)
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(resolveNow(t.Context(), s, q)); err != nil {
		t.Fatal(err)
	}
	if answer.Id != id {
		t.Errorf("ID %d, want %d", answer.Id, id)
	}
	return answer
}

func answering(t *testing.T, q *query, ttl uint32) message {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(q.message); err != nil {
		t.Error(err)
	}
	packed, _ := answerA(m, "10.0.0.1", ttl).Pack()
	return packed
}

func TestCacheSavesQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s, reg := resolving(t, Config{CacheSize: 10}, func(_ context.Context, q *query) (message, error) {
			asked++
			return answering(t, q, 10), nil
		})
		for i := range 5 {
			answer := resolveMsg(t, s, uint16(i))
			if want := uint32(10 - 3*i%12); answer.Answer[0].Header().Ttl != want {
				t.Errorf("query %d: TTL %d, want %d", i, answer.Answer[0].Header().Ttl, want)
			}
			time.Sleep(3 * time.Second)
		}
		if asked != 2 {
			t.Errorf("%d queries in 12 seconds", asked)
		}
		if hits := metric(t, reg, "podplane_dns_cache_lookups_total", "result", "hit"); hits != 3 {
			t.Errorf("%v hits", hits)
		}
		if kept := metric(t, reg, "podplane_dns_cache_entries"); kept != 1 {
			t.Errorf("%v entries", kept)
		}
	})
}

func TestEqualQuestionsShareAQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s, reg := resolving(t, Config{}, func(_ context.Context, q *query) (message, error) {
			asked++
			time.Sleep(time.Second)
			return answering(t, q, 0), nil
		})
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				if answer := resolveMsg(t, s, uint16(i)); len(answer.Answer) != 1 {
					t.Errorf("query %d: %v", i, answer)
				}
			})
		}
		all.Wait()
		resolveMsg(t, s, 99)
		if asked != 2 {
			t.Errorf("%d queries, want one for the first fifty and one for the last", asked)
		}
		if n := metric(t, reg, "podplane_dns_cache_lookups_total", "result", "shared"); n != 49 {
			t.Errorf("%v shared", n)
		}
	})
}

func TestStaleAnswers(t *testing.T) {
	type upstreamState struct {
		err   error
		rcode int
		delay time.Duration
	}
	tests := map[string]struct {
		config Config
		down   upstreamState
		wait   time.Duration // between the last good answer and the question
		rcode  int
		took   time.Duration
	}{
		"no server":              {Config{CacheSize: 10, Stale: 30 * time.Second}, upstreamState{err: errNoServer}, 29 * time.Second, 0, 0},
		"token unknown":          {Config{CacheSize: 10, Stale: 30 * time.Second}, upstreamState{rcode: dns.RcodeServerFailure}, 0, 0, 0},
		"server hangs":           {Config{CacheSize: 10, Stale: 30 * time.Second}, upstreamState{err: errNoServer, delay: time.Hour}, time.Second, 0, patience},
		"server slow":            {Config{CacheSize: 10, Stale: 30 * time.Second}, upstreamState{rcode: dns.RcodeNameError, delay: patience / 2}, 0, dns.RcodeNameError, patience / 2},
		"stale for too long":     {Config{CacheSize: 10, Stale: 30 * time.Second}, upstreamState{err: errNoServer}, 30 * time.Second, dns.RcodeServerFailure, 0},
		"stale serving off":      {Config{CacheSize: 10}, upstreamState{err: errNoServer}, 0, dns.RcodeServerFailure, 0},
		"cache off":              {Config{Stale: 30 * time.Second}, upstreamState{err: errNoServer}, 0, dns.RcodeServerFailure, 0},
		"hangs, nothing stale":   {Config{}, upstreamState{err: errNoServer, delay: time.Hour}, 0, dns.RcodeServerFailure, 4500 * time.Millisecond},
		"another answer at last": {Config{CacheSize: 10, Stale: 30 * time.Second}, upstreamState{rcode: dns.RcodeNameError}, 0, dns.RcodeNameError, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := true
				s, _ := resolving(t, test.config, func(ctx context.Context, q *query) (message, error) {
					if up {
						return answering(t, q, 0), nil
					}
					select {
					case <-time.After(test.down.delay):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					return failure(q, test.down.rcode), test.down.err
				})
				resolveMsg(t, s, 1)
				up = false
				time.Sleep(test.wait)
				begin := time.Now()
				answer := resolveMsg(t, s, 2)
				if took := time.Since(begin); answer.Rcode != test.rcode || took != test.took {
					t.Errorf("after %v: %v", took, answer)
				}
				if answer.Rcode == 0 && len(answer.Answer) != 1 {
					t.Errorf("no address: %v", answer)
				}
				s.tasks.Wait()
			})
		})
	}
}

// TestLateQuestionsOverBothTransports: who asks again, when the patience with a
// server that hangs is over, gets the stale answer at once.
func TestLateQuestionsOverBothTransports(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	s, f := start(t, Config{CacheSize: 10, Stale: time.Minute}, func(ctx context.Context, m *dns.Msg, p pbdns.Protocol) (*dns.Msg, error) {
		if hangs.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return addressOf("10.0.0.1")(ctx, m, p)
	})
	m := question("a.consul.", dns.TypeA)
	transports := []string{"udp", "tcp"}
	for _, transport := range transports {
		ask(t, s, transport, m)
	}
	hangs.Store(true)
	var first sync.WaitGroup
	for _, transport := range transports {
		first.Go(func() { ask(t, s, transport, m) })
	}
	first.Wait()
	asked := f.count()
	for _, transport := range transports {
		if answer := ask(t, s, transport, m); len(answer.Answer) != 1 {
			t.Errorf("over %s: %v", transport, answer)
		}
	}
	if n := f.count(); n != asked {
		t.Errorf("asked %d times more", n-asked)
	}
}

// TestNothingAccumulates lives through a day of questions, each for a name of
// its own, and of changing answers.
func TestNothingAccumulates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := resolving(t, Config{CacheSize: 100, Stale: 30 * time.Second}, func(_ context.Context, q *query) (message, error) {
			if q.questionEnd%3 == 0 {
				return nil, errNoServer
			}
			return answering(t, q, 5), nil
		})
		for i := range 24 * 60 {
			m := question(time.Now().Format("s150405.")+[]string{"a", "bb", "ccc"}[i%3]+".consul.", dns.TypeA)
			packet, _ := m.Pack()
			q, _ := parseQuery(packet, overUDP)
			resolveNow(t.Context(), s, q)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if n := s.cache.len(); n > 100 || s.cache.bytes > 100*bytesPerAnswer || len(s.cache.byKey) != n {
			t.Errorf("%d answers of %d bytes kept", n, s.cache.bytes)
		}
		if n := len(s.flights.byKey); n != 0 {
			t.Errorf("%d queries left over", n)
		}
	})
}
