// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// TestDNSProxyMode: what the program is without an Envoy.
func TestDNSProxyMode(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	consul := consultest.New(t, consultest.Options{JWT: true})
	must(t, consul.Client().Register(ctx, consultest.Service{Name: "api", Address: "10.9.0.1", Port: 80, ProxyPort: 20000}))
	p := startDNS(t, consul, dnsSpec{})
	awaitAddress(ctx, t, p.addr)
	for path, want := range map[string]int{"/live": 200, "/ready": 200, "/status": 200, "/graceful_startup": 200} {
		if answer, err := mesh.Get(ctx, "http://"+p.lifecycle+path); err != nil || answer.Status != want {
			t.Errorf("%s: %v %v", path, answer, err)
		}
	}
	asked := p.metric(ctx, t, `podplane_dns_queries_total{rcode="NOERROR",transport="tcp",type="A"}`)
	answer, err := exchangeDNS(ctx, "tcp", p.addr, query(t, "api.service.consul.", dns.TypeA, 0))
	if got := addressIn(answer, err); got != "10.9.0.1" {
		t.Error(got)
	}
	if n := p.metric(ctx, t, `podplane_dns_queries_total{rcode="NOERROR",transport="tcp",type="A"}`); n != asked+1 {
		t.Errorf("%v queries counted, not %v", n, asked+1)
	}
	if n := p.metric(ctx, t, "podplane_dns_query_duration_seconds_count"); n < 2 {
		t.Errorf("%v latencies", n)
	}
	accessor := p.session(ctx, t).TokenAccessor

	p.expectGracefulEnd(ctx, t)
	tokens, err := consul.Client().AuthMethodTokens(ctx, consultest.AuthMethod)
	must(t, err)
	for _, token := range tokens {
		if token.AccessorID == accessor {
			t.Error("the token outlives the proxy")
		}
	}
}

// expectGracefulEnd ends the proxy by signal: no query is lost that was there
// before it.
func (p *dnsProxy) expectGracefulEnd(ctx context.Context, t *testing.T) {
	t.Helper()
	var err error
	conns := make([]net.Conn, 100)
	for i := range conns {
		var dialer net.Dialer
		conns[i], err = dialer.DialContext(ctx, "udp", p.addr)
		must(t, err)
		defer conns[i].Close()
		_, err = conns[i].Write(query(t, "api.service.consul.", dns.TypeA, 0))
		must(t, err)
	}
	start := time.Now()
	must(t, p.process.Signal(syscall.SIGTERM))
	var got sync.Map
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(patience))
			answer := make([]byte, 512)
			n, err := c.Read(answer)
			got.Store(i, addressIn(answer[:n], err))
		})
	}
	wg.Wait()
	count := map[any]int{}
	got.Range(func(_, got any) bool { count[got]++; return true })
	if count["10.9.0.1"] != len(conns) {
		t.Errorf("answers at the end: %v", count)
	}
	if code := p.process.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("ended after %s", time.Since(start).Round(time.Millisecond))
}

// TestDNSWithoutDescriptors: clients that take all descriptors there are stop
// neither UDP nor TCP for long.
func TestDNSWithoutDescriptors(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	consul := consultest.New(t, consultest.Options{})
	must(t, consul.Client().Register(ctx, consultest.Service{Name: "api", Address: "10.9.0.1", Port: 80, ProxyPort: 20000}))
	p := startDNS(t, consul, dnsSpec{files: 32})
	awaitAddress(ctx, t, p.addr)
	var held []net.Conn
	for range 100 { // the kernel takes them for the process
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "tcp", p.addr)
		must(t, err)
		held = append(held, c)
	}
	for range 20 {
		for _, transport := range []string{"udp", "tcp"} {
			answer, err := exchangeDNS(ctx, transport, p.addr, query(t, "api.service.consul.", dns.TypeA, 0))
			if got := addressIn(answer, err); got != "10.9.0.1" {
				t.Errorf("over %s while descriptors lack: %s", transport, got)
			}
		}
	}
	for _, c := range held {
		must(t, c.Close())
	}
	within(t, 5*time.Second, "everything is served again", func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, "http://"+p.lifecycle+"/ready")
		return err == nil && answer.Status == http.StatusOK
	})
	if n := p.metric(ctx, t, `podplane_dns_socket_errors_total{operation="accept"}`); n == 0 {
		t.Error("descriptors never lacked")
	}
}

// TestDNSRecursors: as a pod's only resolver, the proxy knows more names than
// Consul's.
func TestDNSRecursors(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	consul := consultest.New(t, consultest.Options{})
	must(t, consul.Client().Register(ctx, consultest.Service{Name: "api", Address: "10.9.0.1", Port: 80, ProxyPort: 20000}))
	p := startDNS(t, consul, dnsSpec{args: []string{"-consul-dns-recursors", startRecursor(t)}})
	awaitAddress(ctx, t, p.addr)
	resolver := goResolver(p.addr)
	for name, want := range map[string]string{"api.service.consul.": "10.9.0.1", "www.example.com.": "192.0.2.7"} {
		if got, err := resolver.LookupHost(ctx, name); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v %v, want %s", name, got, err, want)
		}
	}
	for addr, want := range map[string]string{"10.9.0.1": ".dc1.consul.", "192.0.2.7": "www.example.com."} {
		if got, err := resolver.LookupAddr(ctx, addr); err != nil || !strings.Contains(strings.Join(got, " "), want) {
			t.Errorf("%s: %v %v, want %s", addr, got, err, want)
		}
	}
	if _, err := resolver.LookupHost(ctx, "nosuch.service.consul."); !notFound(err) {
		t.Errorf("an unknown service: %v", err)
	}
}

// startRecursor serves the rest of the world's names.
func startRecursor(t *testing.T) string {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetRcode(m, dns.RcodeNameError)
		for _, text := range []string{"www.example.com. 60 IN A 192.0.2.7", "7.2.0.192.in-addr.arpa. 60 IN PTR www.example.com."} {
			record, _ := dns.NewRR(text)
			if h := record.Header(); h.Name == m.Question[0].Name {
				r.Rcode = dns.RcodeSuccess
				if h.Rrtype == m.Question[0].Qtype {
					r.Answer = append(r.Answer, record)
				}
			}
		}
		_ = w.WriteMsg(r)
	})
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	started, ended := make(chan struct{}), make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: handler, NotifyStartedFunc: func() { close(started) }}
	go func() { defer close(ended); _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown(); <-ended })
	return conn.LocalAddr().String()
}
