// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/hashicorp/consul/proto-public/pbdns"
	"github.com/miekg/dns"
)

// probe is a question as bytes, and the transport to ask it by.
type probe struct {
	transport string
	packet    []byte
}

// probes packs each question for both transports, over UDP with the EDNS sizes
// given; 0 is no EDNS.
func probes(t testing.TB, questions []dns.Question, sizes ...uint16) map[string]probe {
	t.Helper()
	out := map[string]probe{}
	for i, q := range questions {
		for _, size := range sizes {
			m := question(q.Name, q.Qtype)
			m.Id = uint16(1000 + i)
			if size != 0 {
				m.SetEdns0(size, false)
			}
			packet, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			for _, transport := range []string{"udp", "tcp"} {
				name := fmt.Sprintf("%s %s %s edns %d", transport, q.Name, dns.TypeToString[q.Qtype], size)
				out[name] = probe{transport, packet}
			}
		}
	}
	return out
}

// compareAnswers asks two servers the same and demands the same bytes. Consul
// shuffles: where several instances answer it takes a few attempts until both
// servers have dealt alike.
func compareAnswers(t *testing.T, ours, theirs string, attempts int, probes map[string]probe) {
	t.Helper()
	const limit = patienceOfTests
	for name, p := range probes {
		want := exchangeRaw(t, p.transport, theirs, p.packet, limit)
		if want == nil {
			t.Errorf("%s: no answer to compare with", name)
			continue
		}
		var got []byte
		for range attempts {
			if got = exchangeRaw(t, p.transport, ours, p.packet, limit); bytes.Equal(got, want) {
				break
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
}

// TestAnswersAreThoseOfTheServer compares the proxy with the same handler
// served as plain DNS by another implementation.
func TestAnswersAreThoseOfTheServer(t *testing.T) {
	t.Parallel()
	handle := func(ctx context.Context, m *dns.Msg, p pbdns.Protocol) (*dns.Msg, error) {
		q := m.Question[0]
		r := answerA(m, "10.9.0.1", 0)
		r.Compress = true
		switch {
		case q.Name == "many.service.consul.":
			r = manyAddresses(m, 20) // fits into 512 bytes compressed or not at all
			r.Compress = p == pbdns.Protocol_PROTOCOL_UDP
		case q.Qtype == dns.TypeSRV:
			srv, _ := dns.NewRR(q.Name + ` 0 IN SRV 1 1 8080 0a090001.addr.dc1.consul.`)
			txt, _ := dns.NewRR(`x.node.dc1.consul. 0 IN TXT "a=b" "c"`)
			r.Answer, r.Extra = []dns.RR{srv}, append(r.Answer, txt)
		case q.Name == "unknown.service.consul.":
			soa, _ := dns.NewRR(`consul. 0 IN SOA ns.consul. hostmaster.consul. 1700000000 3600 600 86400 0`)
			r = new(dns.Msg).SetRcode(m, dns.RcodeNameError)
			r.Ns = []dns.RR{soa}
		case !dns.IsSubDomain("consul.", q.Name):
			r = new(dns.Msg).SetRcode(m, dns.RcodeRefused)
		}
		return r, nil
	}
	s, _ := start(t, Config{}, handle)
	theirs := plainDNS(t, handle)
	compareAnswers(t, s.UDPAddr().String(), theirs, 1, probes(t, []dns.Question{
		{Name: "api.service.consul.", Qtype: dns.TypeA},
		{Name: "API.Service.Consul.", Qtype: dns.TypeA},
		{Name: "api.service.consul.", Qtype: dns.TypeSRV},
		{Name: "many.service.consul.", Qtype: dns.TypeA},
		{Name: "unknown.service.consul.", Qtype: dns.TypeAAAA},
		{Name: `a\.b\"\032c.service.consul.`, Qtype: dns.TypeANY},
		{Name: "example.com.", Qtype: dns.TypeMX},
		{Name: ".", Qtype: dns.TypeNS},
	}, 0, 512, 1232, 4096))
	malformed := map[string]probe{}
	for name, packet := range refused() {
		for _, transport := range []string{"udp", "tcp"} {
			malformed[transport+" "+name] = probe{transport, packet}
		}
	}
	compareAnswers(t, s.UDPAddr().String(), theirs, 1, malformed)
}

// refused are packets that cannot be served.
func refused() map[string][]byte {
	with := func(flags, qd, an, ns, ar byte, rest string) []byte {
		return append([]byte{0xab, 0xcd, flags, 0, 0, qd, 0, an, 0, ns, 0, ar}, rest...)
	}
	const name = "\x03api\x06consul\x00\x00\x01\x00\x01"
	return map[string][]byte{
		"no question":       with(1, 0, 0, 0, 0, ""),
		"two questions":     with(1, 2, 0, 0, 0, name+name),
		"two answers":       with(1, 1, 2, 0, 0, name),
		"two authorities":   with(1, 1, 0, 2, 0, name),
		"three additionals": with(1, 1, 0, 0, 3, name),
		"name cut":          with(1, 1, 0, 0, 0, "\x03ap"),
		"type cut":          with(1, 1, 0, 0, 0, name[:len(name)-3]),
		"label type":        with(1, 1, 0, 0, 0, "\x83api\x00\x00\x01\x00\x01"),
		"record cut":        with(1, 1, 0, 0, 1, name+"\x00\x00\x29\x10\x00\x00\x00"),
		"data cut":          with(1, 1, 0, 0, 1, name+"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x05\x00"),
		"status opcode":     with(2<<3|1, 1, 0, 0, 0, name),
		"update opcode":     with(5<<3, 1, 0, 0, 0, name),
	}
}

// plainDNS serves a handler as Consul serves DNS itself.
func plainDNS(t *testing.T, handle handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{Listener: l}, {PacketConn: p}} {
		protocol := pbdns.Protocol_PROTOCOL_TCP
		if server.PacketConn != nil {
			protocol = pbdns.Protocol_PROTOCOL_UDP
		}
		server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			if answer, err := handle(t.Context(), m, protocol); err == nil {
				_ = w.WriteMsg(answer)
			}
		})
		ready, ended := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(ready) }
		go func() { defer close(ended); _ = server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { _ = server.Shutdown(); <-ended })
	}
	return l.Addr().String()
}
