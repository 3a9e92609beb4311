// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"podplane/integration/consultest"
)

// dnsLoad asks for one service again and again, from some clients at a time,
// and notes when it got something else than its address.
type dnsLoad struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	asked    int
	bad      map[string]int // by what was got
	from, to time.Time      // of the first and the last of those
	slowest  time.Duration
}

// startDNSLoad starts a load, half of it over TCP.
func startDNSLoad(t *testing.T, addr string) *dnsLoad {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &dnsLoad{cancel: cancel, bad: map[string]int{}}
	packet := query(t, "api.service.consul.", dns.TypeA, 1232)
	for i := range 8 {
		transport := []string{"udp", "tcp"}[i%2]
		l.running.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				l.ask(transport, addr, packet)
				<-tick.C
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *dnsLoad) ask(transport, addr string, packet []byte) {
	start := time.Now()
	answer, err := exchangeDNS(context.Background(), transport, addr, packet)
	end := time.Now()
	got := addressIn(answer, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	l.slowest = max(l.slowest, end.Sub(start))
	if got == "10.9.0.1" {
		return
	}
	l.bad[got]++
	if l.from.IsZero() {
		l.from = start
	}
	l.to = end
}

// addressIn is the only address of an answer, or what is there instead.
func addressIn(answer []byte, err error) string {
	m := new(dns.Msg)
	if err == nil {
		err = m.Unpack(answer)
	}
	if err != nil {
		return err.Error()
	}
	if len(m.Answer) == 1 {
		if a, ok := m.Answer[0].(*dns.A); ok {
			return a.A.String()
		}
	}
	return fmt.Sprintf("%s with %d records", dns.RcodeToString[m.Rcode], len(m.Answer))
}

func (l *dnsLoad) stop() {
	l.cancel()
	l.running.Wait()
}

// expectOutage looks at what was answered since it was last called: from the
// first to the last answer without the address it may not be longer than limit,
// and nothing else than SERVFAIL may come meanwhile.
func (l *dnsLoad) expectOutage(t *testing.T, what string, limit time.Duration) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.to.Sub(l.from)
	t.Logf("%s: %d queries, slowest %s; within %s: %v", what, l.asked, l.slowest.Round(time.Millisecond), took.Round(time.Millisecond), l.bad)
	for got := range l.bad {
		if !strings.HasPrefix(got, "SERVFAIL") {
			t.Errorf("%s: a client got %s", what, got)
		}
	}
	if late(t, took, limit) || limit == 0 && len(l.bad) > 0 {
		t.Errorf("%s: no good answers for %s, longer than %s", what, took, limit)
	}
	l.asked, l.slowest, l.bad, l.from, l.to = 0, 0, map[string]int{}, time.Time{}, time.Time{}
}

// count is how many queries have been answered.
func (l *dnsLoad) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// flow waits until the load has got some more answers.
func (l *dnsLoad) flow(t *testing.T) {
	t.Helper()
	before := l.count()
	within(t, patience, "queries are answered", func(context.Context) bool { return l.count() > before+200 })
}

// TestDNSServerLoss kills the servers one by one under load, of three: each
// proxy is bereft of the one in use.
func TestDNSServerLoss(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	consul := consultest.New(t, three)
	must(t, consul.Client().Register(ctx, consultest.Service{Name: "api", Address: "10.9.0.1", Port: 80, ProxyPort: 20000}))
	settings := map[string]struct {
		args  []string
		limit time.Duration // of failing
	}{
		"stale off": {[]string{"-consul-dns-stale-seconds", "0"}, time.Second},
		"cache off": {[]string{"-consul-dns-cache-size", "0"}, time.Second},
		"defaults":  {nil, 0},
	}
	proxies, loads := map[string]*dnsProxy{}, map[string]*dnsLoad{}
	for name, s := range settings {
		proxies[name] = startDNS(t, consul, dnsSpec{args: s.args})
		awaitAddress(ctx, t, proxies[name].addr)
		loads[name] = startDNSLoad(t, proxies[name].addr)
	}
	for i := range consul.Servers() {
		bereft := map[string]uint64{}
		for name, p := range proxies {
			loads[name].flow(t)
			if st := p.session(ctx, t); strings.HasPrefix(st.Server, consul.Addresses()[i]+":") {
				bereft[name] = st.Epoch
			}
		}
		consul.Kill(i)
		for name, epoch := range bereft {
			within(t, patience, name+": another server", func(ctx context.Context) bool {
				st := proxies[name].session(ctx, t)
				return st.Connected && st.Epoch > epoch
			})
		}
		for name, load := range loads {
			load.flow(t)
			load.expectOutage(t, fmt.Sprintf("%s, server %d", name, i), settings[name].limit)
		}
		must(t, consul.Restart(ctx, i))
	}
}

// awaitAddress waits until the proxy gives the address: a service that has just
// been registered may not be known at every server.
func awaitAddress(ctx context.Context, t *testing.T, addr string) {
	t.Helper()
	packet := query(t, "api.service.consul.", dns.TypeA, 0)
	within(t, patience, "api has an address", func(context.Context) bool {
		answer, err := exchangeDNS(ctx, "udp", addr, packet)
		return addressIn(answer, err) == "10.9.0.1"
	})
}

// TestDNSReLogin takes the token away under load, with nothing to serve stale.
func TestDNSReLogin(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	consul := consultest.New(t, consultest.Options{JWT: true})
	client := consul.Client()
	must(t, client.Register(ctx, consultest.Service{Name: "api", Address: "10.9.0.1", Port: 80, ProxyPort: 20000}))
	p := startDNS(t, consul, dnsSpec{args: []string{"-consul-dns-cache-size", "0"}})
	awaitAddress(ctx, t, p.addr)
	load := startDNSLoad(t, p.addr)
	for range 2 {
		before := p.session(ctx, t)
		// A younger token that a server does not know is taken for one that has
		// not been replicated yet.
		within(t, patience, "an old token", func(context.Context) bool { return time.Since(before.TokenSince) > 3*time.Second })
		must(t, client.DeleteToken(ctx, before.TokenAccessor))
		within(t, time.Second, "a new token", func(ctx context.Context) bool {
			st := p.session(ctx, t)
			return st.Connected && st.TokenAccessor != before.TokenAccessor
		})
	}
	load.flow(t)
	load.expectOutage(t, "two logins", 0)
}
