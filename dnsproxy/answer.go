// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"errors"
	"slices"
)

// refusal is the answer to what cannot be read as a query: a header alone, as
// Consul's own DNS server gives it. m may be shorter than a header.
func refusal(m []byte, rcode int) message {
	out := make(message, headerLen)
	copy(out, m)
	clear(out[4:])
	kept := uint16(flagRD | flagAD | flagCD)
	if rcode == rcodeNotImplemented {
		kept |= opcodeMask
	}
	out.setFlags(out.flags()&kept | flagQR | uint16(rcode))
	return out
}

// failure is the answer to a query that could not be served.
func failure(q *query, rcode int) message {
	out := append(refusal(q.message[:headerLen], rcode), q.message[headerLen:q.questionEnd]...)
	out.setCount(sectionQuestion, 1)
	return out
}

// checkResponse tells whether m, which a server sent, is an answer to q that a
// client can read.
func checkResponse(m message, q *query) error {
	if len(m) < headerLen || !m.isResponse() {
		return errMalformed
	}
	if m.id() != q.id() || m.count(sectionQuestion) > 1 {
		return errors.New("answer to another query")
	}
	off, err := m.skipQuestions()
	if err != nil {
		return err
	}
	for _, err := range m.records(off) {
		if err != nil {
			return err
		}
	}
	return nil
}

// sameQuestion tells whether the question of m, a response, is that of q. A
// server may have changed the case of letters.
func sameQuestion(m message, q *query) bool {
	return len(m) >= q.questionEnd && m.count(sectionQuestion) == 1 &&
		bytes.EqualFold(m[headerLen:q.questionEnd], q.message[headerLen:q.questionEnd])
}

// fit gives m, an answer to q, or, if that is larger than the client takes, its
// header, question and OPT record with TC set: the client asks again over TCP.
func fit(m message, q *query) message {
	if len(m) <= q.maxAnswer {
		return m
	}
	off, err := m.skipQuestions()
	if err != nil {
		return failure(q, rcodeServerFailure)
	}
	cut := slices.Clone(m[:off])
	cut.setFlags(m.flags() | flagTC)
	for section := sectionAnswer; section <= sectionAdditional; section++ {
		cut.setCount(section, 0)
	}
	for r, err := range m.records(off) {
		if err == nil && r.kind == typeOPT && len(cut)+r.end-r.start <= q.maxAnswer {
			cut = append(cut, m[r.start:r.end]...)
			cut.setCount(sectionAdditional, 1)
			break
		}
	}
	return cut
}
