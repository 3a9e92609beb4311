// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"encoding/binary"
	"strings"
)

// transport is how a query came.
type transport bool

const (
	overUDP transport = false
	overTCP transport = true
)

func (t transport) String() string {
	if t == overTCP {
		return "tcp"
	}
	return "udp"
}

// query is a question as it came, and what of it matters here.
type query struct {
	message
	transport transport
	// name is in lower case and ends in a dot. It is for comparing suffixes: a
	// dot inside a label is not escaped but "\x00".
	name string
	kind uint16 // QTYPE
	// questionEnd is where the question ends.
	questionEnd int
	// maxAnswer is how many bytes of answer the client takes.
	maxAnswer int
}

// key tells equal questions from others. It is everything but the ID, so that
// whoever shares an answer would have been sent the very same.
func (q *query) key() string {
	return q.transport.String() + string(q.message[2:])
}

// in tells whether the name is the domain or below it. A domain is in lower
// case and ends in a dot.
func (q *query) in(domain string) bool {
	rest, found := strings.CutSuffix(q.name, domain)
	return found && (rest == "" || strings.HasSuffix(rest, "."))
}

// isReverse tells whether the question is for the name of an address.
func (q *query) isReverse() bool { return q.in("in-addr.arpa.") || q.in("ip6.arpa.") }

// parseQuery reads a query, and gives a rcode other than rcodeSuccess for one
// that cannot be served, with the query if its question can be read at least.
// m has a header and is no response. The limits are
// those of the library that Consul itself serves DNS with, so that both refuse
// the same.
func parseQuery(m message, via transport) (*query, int) {
	if m.opcode() != 0 {
		return nil, rcodeNotImplemented
	}
	if m.count(sectionQuestion) != 1 || m.count(sectionAnswer) > 1 ||
		m.count(sectionAuthority) > 1 || m.count(sectionAdditional) > 2 {
		return nil, rcodeFormatError
	}
	end, err := m.skipQuestions()
	if err != nil {
		return nil, rcodeFormatError
	}
	q := &query{message: m, transport: via, questionEnd: end, kind: binary.BigEndian.Uint16(m[end-4:])}
	var ok bool
	if q.name, ok = questionName(m[headerLen : end-4]); !ok {
		return nil, rcodeFormatError
	}
	if ok = q.readEDNS(); !ok {
		return q, rcodeFormatError
	}
	return q, rcodeSuccess
}

// readEDNS finds out how large an answer may be.
func (q *query) readEDNS() bool {
	size, seen := minUDP, false
	for r, err := range q.records(q.questionEnd) {
		if err != nil {
			return false
		}
		if r.kind != typeOPT || r.section != sectionAdditional {
			continue
		}
		if seen { // RFC 6891, section 6.1.1: one at most
			return false
		}
		seen, size = true, max(size, int(r.class))
	}
	q.maxAnswer = min(size, maxUDP)
	if q.transport == overTCP {
		q.maxAnswer = 1<<16 - 1
	}
	return true
}

// questionName reads a whole name. There is nothing before the first question
// that a pointer could point to.
func questionName(wire []byte) (string, bool) {
	var room [maxName]byte // so that only the result is allocated
	name := room[:0]
	for len(wire) > 0 {
		n := int(wire[0])
		switch {
		case n > maxLabel:
			return "", false
		case n == 0 && len(name) == 0:
			return ".", true
		case n == 0:
			return string(name), true
		}
		for _, c := range wire[1 : 1+n] {
			switch {
			case c == '.':
				c = 0
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			}
			name = append(name, c)
		}
		name = append(name, '.')
		wire = wire[1+n:]
	}
	return "", false
}
