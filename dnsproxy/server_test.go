// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdns"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestQueriesCarryTransportAndTenancy(t *testing.T) {
	t.Parallel()
	seen := make(chan pbdns.Protocol, 1)
	s, consul := start(t, Config{Namespace: "ns1", Partition: "ap1"},
		func(_ context.Context, m *dns.Msg, p pbdns.Protocol) (*dns.Msg, error) {
			seen <- p
			return answerA(m, "10.0.0.1", 0), nil
		})
	for transport, want := range map[string]pbdns.Protocol{
		"udp": pbdns.Protocol_PROTOCOL_UDP, "tcp": pbdns.Protocol_PROTOCOL_TCP,
	} {
		answer := ask(t, s, transport, question("api.service.consul.", dns.TypeA))
		if got := answer.Answer[0].(*dns.A).A.String(); got != "10.0.0.1" {
			t.Errorf("%s: address %s", transport, got)
		}
		if got := <-seen; got != want {
			t.Errorf("%s: protocol %v", transport, got)
		}
	}
	if got := consul.lastMetadata(namespaceKey); !slices.Equal(got, []string{"ns1"}) {
		t.Errorf("namespace %q", got)
	}
	if got := consul.lastMetadata(partitionKey); !slices.Equal(got, []string{"ap1"}) {
		t.Errorf("partition %q", got)
	}
}

func TestGoResolver(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Config{}, func(_ context.Context, m *dns.Msg, p pbdns.Protocol) (*dns.Msg, error) {
		r := manyAddresses(m, 200)
		if m.Question[0].Qtype != dns.TypeA {
			r.Answer = nil
		}
		return r, nil
	})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.UDPAddr().String())
	}}
	got, err := resolver.LookupHost(t.Context(), "many.service.consul.")
	if err != nil || len(got) != 200 {
		t.Fatalf("%d addresses, error %v: the cut answer over UDP must lead to TCP", len(got), err)
	}
}

func TestEveryQueryGetsAnAnswer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer *dns.Msg
		err    error
		rcode  int
	}{
		"server gone":          {err: status.Error(codes.Unavailable, "x"), rcode: dns.RcodeServerFailure},
		"rate limited":         {err: status.Error(codes.ResourceExhausted, "x"), rcode: dns.RcodeServerFailure},
		"internal error":       {err: status.Error(codes.Internal, "x"), rcode: dns.RcodeServerFailure},
		"token refused":        {err: status.Error(codes.Unauthenticated, "x"), rcode: dns.RcodeServerFailure},
		"empty response":       {rcode: dns.RcodeServerFailure},
		"no response":          {answer: question("api.service.consul.", dns.TypeA), rcode: dns.RcodeServerFailure},
		"undecodable":          {err: status.Error(codes.Internal, "failure decoding dns request: bad rdata"), rcode: dns.RcodeFormatError},
		"answer to another ID": {answer: new(dns.Msg).SetReply(&dns.Msg{MsgHdr: dns.MsgHdr{Id: 1}}), rcode: dns.RcodeServerFailure},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewRegistry()
			s, _ := start(t, Config{Registerer: reg}, func(context.Context, *dns.Msg, pbdns.Protocol) (*dns.Msg, error) {
				return test.answer, test.err
			})
			for _, transport := range []string{"udp", "tcp"} {
				q := question("api.service.consul.", dns.TypeA)
				q.Id = 2
				answer := ask(t, s, transport, q)
				if answer.Rcode != test.rcode || len(answer.Question) != 1 || !answer.RecursionDesired {
					t.Errorf("%s: %v", transport, answer)
				}
				if n := metric(t, reg, "podplane_dns_queries_total", "transport", transport, "type", "A",
					"rcode", dns.RcodeToString[test.rcode]); n != 1 {
					t.Errorf("%s: %v queries counted", transport, n)
				}
			}
		})
	}
}

func TestTimeoutIsServerFailure(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Config{Timeout: 50 * time.Millisecond}, func(ctx context.Context, _ *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if answer := ask(t, s, "udp", question("slow.service.consul.", dns.TypeA)); answer.Rcode != dns.RcodeServerFailure {
		t.Errorf("got %v", answer)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s, consul := start(t, Config{Registerer: reg}, addressOf("10.0.0.1"))
	cases := refused()
	cases["two bytes"] = []byte{0xab, 0xcd}
	cases["cut header"] = []byte{0xab, 0xcd, 1, 0, 0, 1}
	cases["two OPT"] = append([]byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 2}, "\x00\x00\x01\x00\x01"+
		"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"+"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"...)
	cases["pointer in question"] = append([]byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\xc0\x0c\x00\x01\x00\x01"...)
	cases["name too long"] = append([]byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0},
		strings.Repeat("\x3f"+strings.Repeat("a", 63), 5)+"\x00\x00\x01\x00\x01"...)
	for name, packet := range cases {
		want := rcodeFormatError
		if strings.HasSuffix(name, "opcode") {
			want = rcodeNotImplemented
		}
		for _, transport := range []string{"udp", "tcp"} {
			answer := message(exchangeRaw(t, transport, s.UDPAddr().String(), packet, patienceOfTests))
			if len(answer) < headerLen || answer.id() != 0xabcd || !answer.isResponse() || answer.rcode() != want {
				t.Errorf("%s over %s: %x", name, transport, answer)
			}
		}
	}
	if n := consul.count(); n != 0 {
		t.Errorf("%d of them reached consul", n)
	}
	if n := metric(t, reg, "podplane_dns_rejections_total", "reason", "opcode"); n != 4 {
		t.Errorf("%v rejections by opcode", n)
	}
	if n := metric(t, reg, "podplane_dns_rejections_total", "reason", "malformed"); n != float64(2*(len(cases)-2)) {
		t.Errorf("%v malformed", n)
	}
}

// TestLongPackets: of a packet only so much is read; a query that goes on beyond
// it is not taken for a shorter one.
func TestLongPackets(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Config{}, addressOf("10.0.0.1"))
	for length, want := range map[int]int{maxPacket: dns.RcodeSuccess, maxPacket + 1: dns.RcodeFormatError, 60000: dns.RcodeFormatError} {
		m := question("api.service.consul.", dns.TypeA).SetEdns0(4096, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{}}
		packet, _ := m.Pack()
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, length-len(packet))}}
		packet, _ = m.Pack()
		answer := message(exchangeRaw(t, "udp", s.UDPAddr().String(), packet, patienceOfTests))
		if len(packet) != length || len(answer) < headerLen || answer.rcode() != want {
			t.Errorf("%d bytes: %x", len(packet), answer)
		}
	}
}

// TestAnswersThatCannotBeSent do not keep those after them from being sent.
func TestAnswersThatCannotBeSent(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := newServer(t, Config{Conn: unusedConn{}, Registerer: reg})
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out := &outbox{s: s}
	const each = batchSize // more than one batch of both
	for range each {
		out.add(make(message, headerLen), returnPath{to: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}}) // no port
		out.add(make(message, headerLen), returnPath{to: c.LocalAddr()})
	}
	out.flush()
	_ = c.SetReadDeadline(time.Now().Add(patienceOfTests))
	for i := range each {
		if _, _, err := c.ReadFrom(make([]byte, headerLen)); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	if n := metric(t, reg, "podplane_dns_socket_errors_total", "operation", "write"); n != each {
		t.Errorf("%v errors counted", n)
	}
}

func TestWhatIsNoQueryGetsNoAnswer(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s, _ := start(t, Config{Registerer: reg}, addressOf("10.0.0.1"))
	response, _ := new(dns.Msg).SetReply(question("api.service.consul.", dns.TypeA)).Pack()
	for name, packet := range map[string][]byte{"response": response, "one byte": {1}, "nothing": {}} {
		for _, transport := range []string{"udp", "tcp"} {
			if got := exchangeRaw(t, transport, s.UDPAddr().String(), packet, 20*time.Millisecond); got != nil {
				t.Errorf("%s over %s: %x", name, transport, got)
			}
		}
	}
	eventually(t, "two responses counted", func() bool {
		return metric(t, reg, "podplane_dns_rejections_total", "reason", "response") == 2
	})
	if answer := ask(t, s, "udp", question("api.service.consul.", dns.TypeA)); len(answer.Answer) != 1 {
		t.Errorf("then: %v", answer)
	}
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s, _ := start(t, Config{Registerer: reg}, func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
		r := manyAddresses(m, 100)
		if m.IsEdns0() != nil {
			r.SetEdns0(4096, false)
		}
		return r, nil
	})
	tests := map[string]struct {
		transport string
		edns      uint16
		cut       bool
	}{
		"no EDNS":     {"udp", 0, true},
		"tiny EDNS":   {"udp", 100, true},
		"EDNS":        {"udp", 1232, true},
		"large EDNS":  {"udp", 8192, false},
		"largest":     {"udp", 65535, false},
		"TCP":         {"tcp", 0, false},
		"EDNS on TCP": {"tcp", 512, false},
	}
	for name, test := range tests {
		q := question("many.service.consul.", dns.TypeA)
		if test.edns != 0 {
			q.SetEdns0(test.edns, false)
		}
		packet, _ := q.Pack()
		raw := exchangeRaw(t, test.transport, s.UDPAddr().String(), packet, patienceOfTests)
		answer := new(dns.Msg)
		if err := answer.Unpack(raw); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if answer.Truncated != test.cut || (len(answer.Answer) == 0) != test.cut {
			t.Errorf("%s: truncated %v, %d answers", name, answer.Truncated, len(answer.Answer))
		}
		if len(answer.Question) != 1 || (answer.IsEdns0() != nil) != (test.edns != 0) {
			t.Errorf("%s: question or OPT lost: %v", name, answer)
		}
	}
	if n := metric(t, reg, "podplane_dns_truncated_answers_total"); n != 3 {
		t.Errorf("%v truncations counted", n)
	}
}

func TestTCPAnswersAsTheyCome(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s, _ := start(t, Config{}, func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
		if m.Question[0].Name == "slow.service.consul." {
			<-release
		}
		return answerA(m, "10.0.0.1", 0), nil
	})
	c := dialTCP(t, s)
	var all []byte
	for i, name := range []string{"slow.service.consul.", "b.service.consul.", "c.service.consul."} {
		m := question(name, dns.TypeA)
		m.Id = uint16(i)
		packet, _ := m.Pack()
		var frame bytes.Buffer
		_ = writeFrame(&frame, packet)
		all = append(all, frame.Bytes()...)
	}
	for _, b := range all { // in the smallest of pieces
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.CloseWrite() // a client may have no more questions, and still wants its answers
	got := []uint16{}
	for i := range 3 {
		if i == 2 {
			close(release)
		}
		answer, err := readFrame(c)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer.id())
	}
	slices.Sort(got[:2])
	if !slices.Equal(got, []uint16{1, 2, 0}) {
		t.Errorf("order of answers %v", got)
	}
	if _, err := readFrame(c); err == nil {
		t.Error("the connection stays open after the client's last question")
	}
}

func dialTCP(t *testing.T, s *Server) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patienceOfTests))
	return c.(*net.TCPConn)
}

func TestOverload(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	release := make(chan struct{})
	s, consul := start(t, Config{MaxInFlight: 2, Registerer: reg}, func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
		<-release
		return answerA(m, "10.0.0.1", 0), nil
	})
	var waiting sync.WaitGroup
	for i := range 2 {
		waiting.Go(func() {
			if answer := ask(t, s, "udp", question(fmt.Sprintf("s%d.service.consul.", i), dns.TypeA)); answer.Rcode != dns.RcodeSuccess {
				t.Errorf("under way: %v", answer)
			}
		})
	}
	eventually(t, "two queries at consul", func() bool { return consul.count() == 2 })
	for _, transport := range []string{"udp", "tcp"} {
		if answer := ask(t, s, transport, question("x.service.consul.", dns.TypeA)); answer.Rcode != dns.RcodeServerFailure {
			t.Errorf("beyond the bound, %s: %v", transport, answer)
		}
	}
	close(release)
	waiting.Wait()
	if n := metric(t, reg, "podplane_dns_rejections_total", "reason", "overload"); n != 2 {
		t.Errorf("%v rejections", n)
	}
	eventually(t, "no query under way", func() bool { return metric(t, reg, "podplane_dns_queries_in_flight") == 0 })
	if answer := ask(t, s, "udp", question("x.service.consul.", dns.TypeA)); answer.Rcode != dns.RcodeSuccess {
		t.Errorf("afterwards: %v", answer)
	}
}

func TestManyConnections(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Config{}, addressOf("10.0.0.1"))
	first := dialTCP(t, s)
	for range maxConns {
		dialTCP(t, s)
	}
	if _, err := readFrame(first); err == nil {
		t.Error("the idlest connection is still open")
	}
	if answer := ask(t, s, "tcp", question("x.service.consul.", dns.TypeA)); len(answer.Answer) != 1 {
		t.Errorf("got %v", answer)
	}
}

func TestStopping(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		release bool
		rcode   int
	}{
		"the answer comes in time": {true, dns.RcodeSuccess},
		"it does not":              {false, dns.RcodeServerFailure},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			f, conn := newFakeConsul(t, func(ctx context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
				select {
				case <-release:
				case <-ctx.Done():
				}
				return answerA(m, "10.0.0.1", 0), nil
			})
			s := newServer(t, Config{Conn: conn})
			stop := run(t, s)
			idle := dialTCP(t, s)
			var waiting sync.WaitGroup
			for _, transport := range []string{"udp", "tcp"} {
				waiting.Go(func() {
					if answer := ask(t, s, transport, question(transport+".service.consul.", dns.TypeA)); answer.Rcode != test.rcode {
						t.Errorf("%s: %v", transport, answer)
					}
				})
			}
			eventually(t, "both queries at consul", func() bool { return f.count() == 2 })
			stopped := make(chan struct{})
			go func() { defer close(stopped); stop() }()
			if _, err := readFrame(idle); err == nil {
				t.Error("the idle connection has been sent something")
			}
			if test.release {
				close(release)
			}
			waiting.Wait()
			<-stopped
		})
	}
}

func TestSlowReaderDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	// An answer waits for frameTimeout, of which the first half is spent on filling the
	// pipeline. A busy machine may take longer for that or for the end, but not each time.
	const half = frameTimeout / 2
	for range 10 {
		if took := endWithSlowReader(t, half); took < half {
			return
		}
	}
	t.Error("the end waits for a reader that does not read")
}

// endWithSlowReader has answers wait for a client that does not read them, and
// gives the time that Run takes to end meanwhile. If the answers do not all wait
// in time, it gives patienceOfTests.
func endWithSlowReader(t *testing.T, fill time.Duration) time.Duration {
	t.Helper()
	reg := prometheus.NewRegistry()
	// Large answers of few records: they have to be there before the first of them
	// was waiting for too long.
	var records []dns.RR
	for range 100 {
		records = append(records, &dns.TXT{
			Hdr: dns.RR_Header{Name: "n.service.consul.", Rrtype: dns.TypeTXT, Class: dns.ClassINET},
			Txt: []string{strings.Repeat("x", 250)},
		})
	}
	consul, conn := newFakeConsul(t, func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
		r := new(dns.Msg).SetReply(m)
		r.Answer = records
		return r, nil
	})
	s := newServer(t, Config{Registerer: reg, Conn: conn})
	stop := run(t, s)
	c := dialTCP(t, s)
	_ = c.SetReadBuffer(4096)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for i := range 400 {
			packet, _ := question(fmt.Sprintf("n%d.service.consul.", i), dns.TypeTXT).Pack()
			if writeFrame(c, packet) != nil {
				return
			}
		}
	}()
	full := func() bool {
		return consul.count() >= maxPipelined && metric(t, reg, "podplane_dns_queries_in_flight") == maxPipelined
	}
	begun := time.Now()
	for !full() && time.Since(begun) < fill {
		<-time.After(2 * time.Millisecond)
	}
	filled := full() && time.Since(begun) < fill
	begun = time.Now()
	stop()
	took := time.Since(begun)
	t.Logf("pipeline full: %t, Run took %s to end", filled, took)
	if !filled {
		took = patienceOfTests
	}
	_ = c.Close()
	<-asked
	return took
}

func TestSocketErrorsPass(t *testing.T) {
	t.Parallel()
	var pause backoff
	s := newServer(t, Config{Conn: unusedConn{}})
	for range 20 {
		s.socketError("accept", &pause, syscall.EMFILE)
		if !pause.first() {
			break
		}
		pause.wait(t.Context())
	}
	if pause.first() {
		t.Error("no pause after an error")
	}
	pause.reset()
	if !pause.first() {
		t.Error("a success does not end the row of errors")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		pause.wait(ctx) // at once
	}
	if pause.next != maxPause {
		t.Errorf("pause %v", pause.next)
	}
}

func TestLostSocketEndsRun(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		s := newServer(t, Config{Conn: unusedConn{}})
		if transport == "udp" {
			_ = s.udp.Close()
		} else {
			_ = s.tcp.Close()
		}
		if err := s.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

func TestUnsendableAnswerIsLoggedOnce(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := newServer(t, Config{Conn: unusedConn{}, Registerer: reg})
	_ = s.udp.Close()
	for range 3 {
		out := &outbox{s: s}
		out.add(make(message, headerLen), returnPath{to: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}})
		out.flush()
	}
	if n := metric(t, reg, "podplane_dns_socket_errors_total", "operation", "write"); n != 3 || !s.writeBad.Load() {
		t.Errorf("%v errors counted", n)
	}
}
