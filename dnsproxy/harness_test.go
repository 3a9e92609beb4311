// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdns"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// fakeConsul is a DNSService over real gRPC. Its handler gets what the proxy
// sent, decoded by another DNS implementation than the one under test.
type fakeConsul struct {
	pbdns.UnimplementedDNSServiceServer
	handle func(ctx context.Context, m *dns.Msg, p pbdns.Protocol) (*dns.Msg, error)

	mu       sync.Mutex
	queries  int
	metadata metadata.MD
}

func (f *fakeConsul) Query(ctx context.Context, r *pbdns.QueryRequest) (*pbdns.QueryResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	f.queries++
	f.metadata = md
	f.mu.Unlock()
	m := new(dns.Msg)
	if err := m.Unpack(r.Msg); err != nil {
		return nil, status.Errorf(codes.Internal, "failure decoding dns request: %v", err)
	}
	answer, err := f.handle(ctx, m, r.Protocol)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return &pbdns.QueryResponse{}, nil
	}
	packed, err := answer.Pack()
	return &pbdns.QueryResponse{Msg: packed}, err
}

func (f *fakeConsul) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queries
}

func (f *fakeConsul) lastMetadata(key string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.metadata.Get(key)
}

type handler = func(context.Context, *dns.Msg, pbdns.Protocol) (*dns.Msg, error)

// newFakeConsul starts a fake server and connects to it.
func newFakeConsul(t testing.TB, handle handler) (*fakeConsul, grpc.ClientConnInterface) {
	t.Helper()
	f := &fakeConsul{handle: handle}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pbdns.RegisterDNSServiceServer(g, f)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-served })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return f, conn
}

// newServer binds a server on a free port that Run has not been called for.
func newServer(t testing.TB, c Config) *Server {
	t.Helper()
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	s, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run starts a server and gives a function that stops it, which the end of the
// test does as well.
func run(t testing.TB, s *Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		begin := time.Now()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if took := time.Since(begin); took > patienceOfTests {
			t.Errorf("run took %v to end", took)
		}
	})
	t.Cleanup(stop)
	return stop
}

// start is newServer and run for a server whose Consul is handle.
func start(t testing.TB, c Config, handle handler) (*Server, *fakeConsul) {
	t.Helper()
	f, conn := newFakeConsul(t, handle)
	c.Conn = conn
	s := newServer(t, c)
	run(t, s)
	return s, f
}

// addressOf is a handler that knows one address for every name, with the TTL of
// 0 that Consul gives by default.
func addressOf(ip string) handler {
	return func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
		return answerA(m, ip, 0), nil
	}
}

func answerA(m *dns.Msg, ip string, ttl uint32) *dns.Msg {
	r := new(dns.Msg).SetReply(m)
	r.Authoritative = true
	r.Answer = append(r.Answer, &dns.A{
		Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl},
		A:   net.ParseIP(ip).To4(),
	})
	return r
}

// manyAddresses is an answer of n addresses.
func manyAddresses(m *dns.Msg, n int) *dns.Msg {
	r := new(dns.Msg).SetReply(m)
	for i := range n {
		r.Answer = append(r.Answer, answerA(m, net.IPv4(10, 0, byte(i>>8), byte(i)).String(), 0).Answer...)
	}
	return r
}

func question(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

// ask sends a query with an independent client.
func ask(t testing.TB, s *Server, transport string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: transport, Timeout: patienceOfTests, UDPSize: 65535}
	answer, _, err := c.Exchange(m, s.UDPAddr().String())
	if err != nil {
		t.Fatalf("%s %s: %v", transport, m.Question[0].Name, err)
	}
	return answer
}

// exchangeRaw sends one packet and gives the answer to it, nil for none in time.
func exchangeRaw(t testing.TB, transport, addr string, packet []byte, limit time.Duration) []byte {
	t.Helper()
	c, err := net.Dial(transport, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if transport == "tcp" {
		if err := writeFrame(c, packet); err != nil {
			t.Fatal(err)
		}
		answer, err := readFrame(c)
		if err != nil {
			return nil
		}
		return answer
	}
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// metric gives the value of a counter or gauge, 0 if there is none with these
// labels ("name", "value", …).
func metric(t testing.TB, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	next:
		for _, m := range family.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(labels); i += 2 {
				if has[labels[i]] != labels[i+1] {
					continue next
				}
			}
			if h := m.GetHistogram(); h != nil {
				return float64(h.GetSampleCount())
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

// patienceOfTests is for the machine: what has to come comes much sooner.
const patienceOfTests = time.Minute

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patienceOfTests); time.Now().Before(end); <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}
