// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"podplane/integration/consultest"
)

// dnsQuestions are what a client may ask about the services of registerDNS.
var dnsQuestions = []dns.Question{
	{Name: "api.service.consul.", Qtype: dns.TypeA},
	{Name: "api.service.consul.", Qtype: dns.TypeAAAA},
	{Name: "api.service.consul.", Qtype: dns.TypeSRV},
	{Name: "api.service.consul.", Qtype: dns.TypeTXT},
	{Name: "api.service.consul.", Qtype: dns.TypeANY},
	{Name: "API.Service.CONSUL.", Qtype: dns.TypeA},
	{Name: "api.service.dc1.consul.", Qtype: dns.TypeA},
	{Name: "v1.api.service.consul.", Qtype: dns.TypeA},
	{Name: "v9.api.service.consul.", Qtype: dns.TypeA},
	{Name: "_api._tcp.service.consul.", Qtype: dns.TypeSRV},
	{Name: "_api._v1.service.consul.", Qtype: dns.TypeSRV},
	{Name: "api.virtual.consul.", Qtype: dns.TypeA},
	{Name: "api.virtual.consul.", Qtype: dns.TypeAAAA},
	{Name: "api.connect.consul.", Qtype: dns.TypeA},
	{Name: "api.connect.consul.", Qtype: dns.TypeSRV},
	{Name: "six.service.consul.", Qtype: dns.TypeAAAA},
	{Name: "six.service.consul.", Qtype: dns.TypeA},
	{Name: "six.service.consul.", Qtype: dns.TypeSRV},
	{Name: "pair.service.consul.", Qtype: dns.TypeA},
	{Name: "pair.service.consul.", Qtype: dns.TypeSRV},
	{Name: "named.service.consul.", Qtype: dns.TypeA},
	{Name: "named.service.consul.", Qtype: dns.TypeCNAME},
	{Name: consultest.SyntheticNode + ".node.consul.", Qtype: dns.TypeA},
	{Name: consultest.SyntheticNode + ".node.consul.", Qtype: dns.TypeTXT},
	{Name: "0a090001.addr.dc1.consul.", Qtype: dns.TypeA},
	{Name: "1.0.9.10.in-addr.arpa.", Qtype: dns.TypePTR},
	{Name: "9.9.9.9.in-addr.arpa.", Qtype: dns.TypePTR},
	{Name: "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", Qtype: dns.TypePTR},
	{Name: "nosuch.service.consul.", Qtype: dns.TypeA},
	{Name: "nosuch.service.consul.", Qtype: dns.TypeSRV},
	{Name: "api.service.dc9.consul.", Qtype: dns.TypeA},
	{Name: "consul.", Qtype: dns.TypeSOA},
	{Name: "consul.", Qtype: dns.TypeNS},
	{Name: "www.example.com.", Qtype: dns.TypeA},
	{Name: ".", Qtype: dns.TypeNS},
}

// many is how many instances the service of that name has: more than fit into
// 512 bytes.
const many = 40

// registerDNS registers what the questions are about.
func registerDNS(ctx context.Context, t *testing.T, client *consultest.Client) {
	t.Helper()
	services := []consultest.Service{
		{Name: "api", Address: "10.9.0.1", Tags: []string{"v1"}, Meta: map[string]string{"team": "blue"}},
		{Name: "six", Address: "fd00::9"},
		{Name: "pair", ID: "pair-1", Address: "10.9.0.2"},
		{Name: "pair", ID: "pair-2", Address: "10.9.0.3"},
		{Name: "named", Address: "legacy.example.com"},
	}
	for _, s := range services {
		s.Port, s.ProxyPort = 8080, 20000
		must(t, client.Register(ctx, s))
	}
	for i := range many {
		must(t, client.Put(ctx, "/v1/catalog/register", map[string]any{
			"Node": consultest.SyntheticNode, "Address": "127.0.0.1", "SkipNodeUpdate": true,
			"Service": map[string]any{"Service": "many", "ID": fmt.Sprint("many-", i), "Address": fmt.Sprint("10.9.1.", 100+i), "Port": 80},
		}))
	}
}

// TestDNSAnswers compares the proxy with Consul's own DNS server: there must be
// no telling them apart.
func TestDNSAnswers(t *testing.T) {
	t.Parallel()
	truncate := map[string]any{"dns_config": map[string]any{"enable_truncate": true}}
	clusters := map[string]consultest.Options{
		"plain text":       {Config: truncate},
		"TLS, ACLs, login": {TLS: true, JWT: true, Config: truncate},
	}
	for name, options := range clusters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := bounded(t)
			consul := consultest.New(t, options)
			if options.JWT { // Consul's own DNS has the agent's token, and needs one for this
				must(t, consul.Client().Put(ctx, "/v1/agent/token/default", map[string]string{"Token": consul.Token()}))
			}
			registerDNS(ctx, t, consul.Client())
			ours, theirs := startDNS(t, consul, dnsSpec{}).addr, consul.DNSAddr(0)
			t.Run("bytes", func(t *testing.T) { compareBytes(ctx, t, ours, theirs) })
			t.Run("truncation", func(t *testing.T) { compareTruncation(ctx, t, ours, theirs) })
			t.Run("go", func(t *testing.T) { compareResolvers(ctx, t, ours, theirs) })
			t.Run("dig", func(t *testing.T) { compareDig(ctx, t, ours, theirs) })
		})
	}
}

// compareBytes asks both servers the same and demands the same bytes. Consul
// deals instances at random and writes the time into its SOA records: it takes
// a few attempts until both have given the same of that.
func compareBytes(ctx context.Context, t *testing.T, ours, theirs string) {
	t.Helper()
	const attempts = 50
	compared, answered := 0, 0
	for _, q := range dnsQuestions {
		for _, size := range []uint16{0, 512, 1232, 4096} {
			for _, transport := range []string{"udp", "tcp"} {
				packet := query(t, q.Name, q.Qtype, size)
				var got, want []byte
				for range attempts {
					var errs [2]error
					want, errs[0] = exchangeDNS(ctx, transport, theirs, packet)
					got, errs[1] = exchangeDNS(ctx, transport, ours, packet)
					must(t, errs[:]...)
					if bytes.Equal(got, want) {
						break
					}
				}
				compared++
				if !bytes.Equal(got, want) {
					t.Errorf("%s %s %s, EDNS %d:\n got %x\nwant %x", transport, q.Name, dns.Type(q.Qtype), size, got, want)
				}
				if decode(t, want).Answer != nil {
					answered++
				}
			}
		}
	}
	t.Logf("%d questions, %d exchanges, %d with records in the answer", len(dnsQuestions), compared, answered)
	if answered < compared/2 {
		t.Error("too few of the questions have an answer to compare")
	}
}

// compareTruncation asks for more than fits. Of the random order of instances
// only what does not depend on it can be compared: everything but which ones.
func compareTruncation(ctx context.Context, t *testing.T, ours, theirs string) {
	t.Helper()
	truncated := 0
	for _, kind := range []uint16{dns.TypeA, dns.TypeSRV} {
		for _, size := range []uint16{0, 512, 1232, 4096} {
			for _, transport := range []string{"udp", "tcp"} {
				packet := query(t, "many.service.consul.", kind, size)
				a, err := exchangeDNS(ctx, transport, theirs, packet)
				must(t, err)
				b, err := exchangeDNS(ctx, transport, ours, packet)
				must(t, err)
				want, got := decode(t, a), decode(t, b)
				if len(a) != len(b) || got.MsgHdr != want.MsgHdr || len(got.Answer) != len(want.Answer) || len(got.Extra) != len(want.Extra) {
					t.Errorf("%s %s, EDNS %d:\n got %s\nwant %s", transport, dns.Type(kind), size, got, want)
				}
				if limit := max(512, int(size)); transport == "udp" && len(b) > limit {
					t.Errorf("%d bytes for a client that takes %d", len(b), limit)
				}
				if got.Truncated {
					truncated++
				} else if transport == "tcp" && !slices.Equal(records(got), records(want)) {
					t.Errorf("%s: other records:\n got %s\nwant %s", dns.Type(kind), got, want)
				}
			}
		}
	}
	if truncated == 0 {
		t.Error("nothing was truncated")
	}
	// What a client does that meets TC.
	client := dns.Client{Timeout: answerTimeout}
	first, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion("many.service.consul.", dns.TypeA), ours)
	must(t, err)
	client.Net = "tcp"
	second, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion("many.service.consul.", dns.TypeA), ours)
	must(t, err)
	if !first.Truncated || len(second.Answer) != many {
		t.Errorf("truncated %v, then %d of %d instances over TCP", first.Truncated, len(second.Answer), many)
	}
}

func decode(t *testing.T, packet []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	must(t, m.Unpack(packet))
	return m
}

// records are those of the answer, sorted.
func records(m *dns.Msg) []string {
	var out []string
	for _, r := range m.Answer {
		out = append(out, r.String())
	}
	slices.Sort(out)
	return out
}
