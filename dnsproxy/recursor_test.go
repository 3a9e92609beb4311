// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"net/netip"

	"github.com/hashicorp/consul/proto-public/pbdns"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	// Consul says 10.0.0.1 and the recursor 10.0.0.2.
	fromConsul := func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
		switch m.Question[0].Name {
		case "2.0.0.10.in-addr.arpa.":
			return new(dns.Msg).SetRcode(m, dns.RcodeNameError), nil
		case "3.0.0.10.in-addr.arpa.":
			return nil, fmt.Errorf("gone")
		}
		return answerA(m, "10.0.0.1", 0), nil
	}
	recursor := plainDNS(t, addressOf("10.0.0.2"))
	tests := map[string]struct {
		config Config
		name   string
		want   string
	}{
		"mesh name":                 {Config{Recursors: []string{recursor}}, "api.service.consul.", "10.0.0.1"},
		"case":                      {Config{Recursors: []string{recursor}}, "API.SERVICE.CONSUL.", "10.0.0.1"},
		"the domain":                {Config{Recursors: []string{recursor}}, "consul.", "10.0.0.1"},
		"other name":                {Config{Recursors: []string{recursor}}, "example.com.", "10.0.0.2"},
		"ends alike":                {Config{Recursors: []string{recursor}}, "notconsul.", "10.0.0.2"},
		"dot in a label":            {Config{Recursors: []string{recursor}}, `a\.consul.`, "10.0.0.2"},
		"root":                      {Config{Recursors: []string{recursor}}, ".", "10.0.0.2"},
		"other domain":              {Config{Recursors: []string{recursor}, Domain: "Mesh.Example"}, "a.mesh.example.", "10.0.0.1"},
		"not the default domain":    {Config{Recursors: []string{recursor}, Domain: "mesh.example."}, "a.consul.", "10.0.0.2"},
		"no recursors":              {Config{}, "example.com.", "10.0.0.1"},
		"address that consul has":   {Config{Recursors: []string{recursor}}, "1.0.0.10.in-addr.arpa.", "10.0.0.1"},
		"address that it has not":   {Config{Recursors: []string{recursor}}, "2.0.0.10.in-addr.arpa.", "10.0.0.2"},
		"address, consul is gone":   {Config{Recursors: []string{recursor}}, "3.0.0.10.in-addr.arpa.", "10.0.0.2"},
		"address of the other kind": {Config{Recursors: []string{recursor}}, "1.ip6.arpa.", "10.0.0.1"},
	}
	for name, test := range tests {
		s, _ := start(t, test.config, fromConsul)
		for _, transport := range []string{"udp", "tcp"} {
			answer := ask(t, s, transport, question(test.name, dns.TypeA))
			if len(answer.Answer) != 1 || answer.Answer[0].(*dns.A).A.String() != test.want {
				t.Errorf("%s over %s: %v", name, transport, answer)
			}
		}
	}
}

func TestNextRecursorIsAskedWhenOneFails(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	rcode := func(rcode int) string {
		return plainDNS(t, func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
			return new(dns.Msg).SetRcode(m, rcode), nil
		})
	}
	closed, _ := net.ListenPacket("udp", "127.0.0.1:0")
	_ = closed.Close()
	refusing, failing, unknown := rcode(dns.RcodeRefused), rcode(dns.RcodeServerFailure), rcode(dns.RcodeNameError)
	good := plainDNS(t, addressOf("10.0.0.2"))
	tests := map[string]struct {
		recursors []string
		rcode     int
	}{
		"refuses":        {[]string{refusing, good}, dns.RcodeSuccess},
		"fails":          {[]string{failing, good}, dns.RcodeSuccess},
		"is closed":      {[]string{closed.LocalAddr().String(), good}, dns.RcodeSuccess},
		"is silent":      {[]string{silent.LocalAddr().String(), good}, dns.RcodeSuccess},
		"knows better":   {[]string{unknown, good}, dns.RcodeNameError},
		"all refuse":     {[]string{refusing, refusing}, dns.RcodeRefused},
		"all are silent": {[]string{silent.LocalAddr().String()}, dns.RcodeServerFailure},
		"all are closed": {[]string{closed.LocalAddr().String()}, dns.RcodeServerFailure},
	}
	for name, test := range tests {
		reg := prometheus.NewRegistry()
		s, _ := start(t, Config{Recursors: test.recursors, Timeout: 4 * time.Second, Registerer: reg}, addressOf("10.0.0.1"))
		if answer := ask(t, s, "udp", question("example.com.", dns.TypeA)); answer.Rcode != test.rcode {
			t.Errorf("%s: %v", name, answer)
		}
		failed := metric(t, reg, "podplane_dns_upstream_errors_total", "upstream", "recursors")
		if (failed == 1) != (test.rcode == dns.RcodeServerFailure) {
			t.Errorf("%s: %v failures counted", name, failed)
		}
	}
}

// TestForgedAnswersAreIgnored has a recursor that sends others before its own.
func TestForgedAnswersAreIgnored(t *testing.T) {
	t.Parallel()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() { _ = p.Close(); <-served })
	go func() {
		defer close(served)
		buf := make([]byte, 1<<16)
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		m := new(dns.Msg)
		_ = m.Unpack(buf[:n])
		otherID, otherName := answerA(m, "10.6.6.6", 0), answerA(question("evil.example.", dns.TypeA), "10.6.6.6", 0)
		otherID.Id++
		otherName.Id = m.Id
		for _, reply := range []*dns.Msg{otherID, otherName, m, answerA(m, "10.0.0.2", 0)} {
			packed, _ := reply.Pack()
			_, _ = p.WriteTo(packed, from)
		}
	}()
	s, _ := start(t, Config{Recursors: []string{p.LocalAddr().String()}}, addressOf("10.0.0.1"))
	answer := ask(t, s, "udp", question("example.com.", dns.TypeA))
	if len(answer.Answer) != 1 || answer.Answer[0].(*dns.A).A.String() != "10.0.0.2" {
		t.Errorf("got %v", answer)
	}
}

// TestBadAnswersOverTCP has recursors that answer something else.
func TestBadAnswersOverTCP(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]func(m *dns.Msg) []byte{
		"another question": func(m *dns.Msg) []byte {
			other := new(dns.Msg).SetReply(question("evil.example.", dns.TypeA))
			other.Id = m.Id
			packed, _ := other.Pack()
			return packed
		},
		"no answer": func(m *dns.Msg) []byte { packed, _ := m.Pack(); return packed },
		"nothing":   func(*dns.Msg) []byte { return nil },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		t.Cleanup(func() { _ = l.Close(); <-served })
		go func() {
			defer close(served)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if packet, err := readFrame(c); err == nil {
					m := new(dns.Msg)
					_ = m.Unpack(packet)
					_ = writeFrame(c, reply(m))
				}
				_ = c.Close()
			}
		}()
		s, _ := start(t, Config{Recursors: []string{l.Addr().String()}}, addressOf("10.0.0.1"))
		if answer := ask(t, s, "tcp", question("example.com.", dns.TypeA)); answer.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s: %v", name, answer)
		}
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# nameserver 9.9.9.9\nsearch a b\nnameserver 127.0.0.1\n  nameserver\t10.0.0.53 # cluster\n" +
		"nameserver fe80::1%eth0\nnameserver 2001:db8::53\nnameserver\nnameserver example.com\noptions ndots:5"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		recursors []string
		self      string
		want      []string
	}{
		"none":      {nil, "127.0.0.1", nil},
		"given":     {[]string{"1.1.1.1:53", "[::1]:5353"}, "127.0.0.1", []string{"1.1.1.1:53", "[::1]:5353"}},
		"of system": {[]string{"system"}, "127.0.0.1", []string{"10.0.0.53:53", "[fe80::1%eth0]:53", "[2001:db8::53]:53"}},
		"wildcard":  {[]string{"system"}, "0.0.0.0", []string{"10.0.0.53:53", "[fe80::1%eth0]:53", "[2001:db8::53]:53"}},
		"other":     {[]string{"system", "1.1.1.1:53"}, "10.0.0.53", []string{"127.0.0.1:53", "[fe80::1%eth0]:53", "[2001:db8::53]:53", "1.1.1.1:53"}},
	}
	for name, test := range tests {
		got, err := expand(test.recursors, path, netip.MustParseAddr(test.self))
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
}
