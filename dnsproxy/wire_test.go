// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func seedQueries(f *testing.F) {
	f.Helper()
	for _, m := range []*dns.Msg{
		question("api.service.consul.", dns.TypeA), question(".", dns.TypeNS), question(`a\.b\000.consul.`, dns.TypeTXT),
		question("1.0.0.10.in-addr.arpa.", dns.TypePTR), question("api.service.consul.", dns.TypeSRV).SetEdns0(1232, true),
		new(dns.Msg).SetReply(question("api.service.consul.", dns.TypeA)), new(dns.Msg).SetUpdate("consul."),
	} {
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, false)
		f.Add(packed, true)
	}
	for _, packet := range refused() {
		f.Add(packet, false)
	}
	f.Add([]byte{}, false)
	// What looks like EDNS among the authorities is none.
	f.Add([]byte("\x8fu\x01\x00\x00\x01\x00\x00\x00\x01\x00\x00"+
		"\x03api\x06consul\x00\x00!\x00\x01\x00\x00)\x04\xd0\x00\x00\x80\x00\x00\x00"), false)
}

// FuzzPackets sends packets through all of the server but its sockets. Whatever
// comes in, what goes out is an answer to it that another DNS implementation
// can read.
func FuzzPackets(f *testing.F) {
	seedQueries(f)
	s, err := New(Config{Addr: "127.0.0.1:0", Conn: unusedConn{}, CacheSize: 16, Stale: time.Minute}, nil)
	if err != nil {
		f.Fatal(err)
	}
	_ = s.Close()
	n := 0
	s.upstream = upstreamFunc(func(_ context.Context, q *query) (message, error) {
		if n++; n%3 == 0 {
			return nil, errNoServer
		}
		m := failure(q, rcodeSuccess)
		m.setCount(sectionAnswer, 40)
		for range 40 {
			m = append(m, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x05\x00\x10\x0f0123456789abcde"...)
		}
		return m, nil
	})
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		var answer message
		w := make(waiter, 1)
		s.start(t.Context(), request{packet: bytes.Clone(packet), via: transport(tcp), arrived: time.Now(), from: w}, &outbox{s: s})
		s.tasks.Wait()
		select {
		case answer = <-w:
		default:
		}
		isQuery := len(packet) == 2 || len(packet) > 2 && packet[2]&0x80 == 0
		if isQuery != (answer != nil) {
			t.Fatalf("query %v, answer %x", isQuery, answer)
		}
		if answer == nil {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(answer); err != nil && m.Rcode != dns.RcodeFormatError {
			t.Fatalf("unreadable answer %x: %v", answer, err)
		}
		if !bytes.Equal(answer[:2], packet[:2]) || !m.Response {
			t.Errorf("%x does not answer %x", answer, packet)
		}
		asked := new(dns.Msg)
		if asked.Unpack(packet) != nil {
			return
		}
		limit := dns.MinMsgSize
		if opt := asked.IsEdns0(); opt != nil {
			limit = max(limit, int(opt.UDPSize()))
		}
		if !tcp && len(answer) > limit {
			t.Errorf("%d bytes for a client that takes %d", len(answer), limit)
		}
	})
}

// FuzzQuery compares what is read from a query with what another DNS
// implementation reads.
func FuzzQuery(f *testing.F) {
	seedQueries(f)
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		if len(packet) < headerLen {
			return
		}
		q, rcode := parseQuery(packet, transport(tcp))
		theirs := new(dns.Msg)
		err := theirs.Unpack(packet)
		if rcode != rcodeSuccess {
			return
		}
		if err != nil {
			return // the other looks into the data of records, too
		}
		if got := len(theirs.Question); got != 1 || theirs.Question[0].Qtype != q.kind {
			t.Fatalf("%d questions, ours of type %d: %v", got, q.kind, theirs)
		}
		for _, domain := range []string{"consul.", "in-addr.arpa."} {
			if want := dns.IsSubDomain(domain, theirs.Question[0].Name); q.in(domain) != want {
				t.Errorf("%q in %s: %v", theirs.Question[0].Name, domain, !want)
			}
		}
	})
}

// FuzzResponse reads what a server could send.
func FuzzResponse(f *testing.F) {
	query, _ := question("api.service.consul.", dns.TypeA).Pack()
	q, _ := parseQuery(query, overUDP)
	for _, m := range []*dns.Msg{answerA(question("api.service.consul.", dns.TypeA), "10.0.0.1", 5), manyAddresses(question("a.", 1), 50)} {
		packed, _ := m.Pack()
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := message(bytes.Clone(packet))
		if len(m) >= headerLen {
			m.setID(q.id())
		}
		if checkResponse(m, q) != nil || sameQuestion(m, q) && m.count(sectionQuestion) != 1 {
			return
		}
		c := newCache(2, time.Minute)
		c.put("k", m, time.Now())
		if kept, state := c.get("k", time.Now().Add(30*time.Second)); state != absent {
			if len(kept) != len(m) || checkResponse(kept, q) != nil {
				t.Errorf("%x became %x", packet, kept)
			}
		}
		if cut := fit(m, q); len(cut) > q.maxAnswer || checkResponse(cut, q) != nil {
			t.Errorf("%x cut to %x", packet, cut)
		}
	})
}
