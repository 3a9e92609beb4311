// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"encoding/binary"
	"errors"
	"iter"
)

// The wire format is that of RFC 1035, section 4, with EDNS of RFC 6891.
const (
	headerLen = 12
	maxName   = 255   // bytes of a name, with its length bytes
	maxLabel  = 63    // bytes of a label
	minUDP    = 512   // what every client takes over UDP
	maxUDP    = 65507 // what fits into a UDP packet over IPv4

	flagQR = 1 << 15 // it is a response
	flagTC = 1 << 9  // it is cut
	flagRD = 1 << 8  // recursion desired
	flagAD = 1 << 5  // authentic data
	flagCD = 1 << 4  // checking disabled

	opcodeMask = 0xf << 11
	rcodeMask  = 0xf
)

// Response codes, and the record types with a meaning of their own here.
const (
	rcodeSuccess        = 0
	rcodeFormatError    = 1
	rcodeServerFailure  = 2
	rcodeNameError      = 3
	rcodeNotImplemented = 4
	rcodeRefused        = 5

	typeSOA = 6
	typeOPT = 41
)

var errMalformed = errors.New("malformed dns message")

// message is a DNS message in its wire form, of at least headerLen bytes.
type message []byte

func (m message) id() uint16         { return binary.BigEndian.Uint16(m) }
func (m message) setID(id uint16)    { binary.BigEndian.PutUint16(m, id) }
func (m message) flags() uint16      { return binary.BigEndian.Uint16(m[2:]) }
func (m message) setFlags(f uint16)  { binary.BigEndian.PutUint16(m[2:], f) }
func (m message) count(i int) uint16 { return binary.BigEndian.Uint16(m[4+2*i:]) }
func (m message) setCount(i int, n uint16) {
	binary.BigEndian.PutUint16(m[4+2*i:], n)
}
func (m message) isResponse() bool  { return m.flags()&flagQR != 0 }
func (m message) isTruncated() bool { return m.flags()&flagTC != 0 }
func (m message) opcode() int       { return int(m.flags()&opcodeMask) >> 11 }
func (m message) rcode() int        { return int(m.flags() & rcodeMask) }

// The sections, as indexes of message.count.
const (
	sectionQuestion = iota
	sectionAnswer
	sectionAuthority
	sectionAdditional
)

// record is where a resource record lies in a message. Its owner's name is not
// looked at.
type record struct {
	section    int
	kind       uint16 // TYPE
	class      uint16
	start, end int // of all of it
	ttlAt      int // offset of the TTL; the data follows it after 6 bytes
}

func (r record) ttl(m message) uint32 {
	ttl := binary.BigEndian.Uint32(m[r.ttlAt:])
	if ttl > 1<<31-1 { // RFC 2181, section 8: take it for 0
		return 0
	}
	return ttl
}

// soaMinimum is the last field of the data of an SOA record.
func (r record) soaMinimum(m message) uint32 {
	if r.end-r.ttlAt < 6+4 {
		return 0
	}
	return binary.BigEndian.Uint32(m[r.end-4:])
}

// records walks the resource records that follow the questions, which end at
// off. It ends with errMalformed where the message does not hold what its
// counts promise.
func (m message) records(off int) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for section := sectionAnswer; section <= sectionAdditional; section++ {
			for range m.count(section) {
				r, err := m.recordAt(off)
				r.section = section
				if !yield(r, err) || err != nil {
					return
				}
				off = r.end
			}
		}
	}
}

func (m message) recordAt(off int) (record, error) {
	const fixed = 10 // TYPE, CLASS, TTL, RDLENGTH
	at, err := m.skipName(off)
	if err != nil || len(m)-at < fixed {
		return record{}, errMalformed
	}
	r := record{
		kind:  binary.BigEndian.Uint16(m[at:]),
		class: binary.BigEndian.Uint16(m[at+2:]),
		start: off,
		ttlAt: at + 4,
		end:   at + fixed + int(binary.BigEndian.Uint16(m[at+8:])),
	}
	if r.end > len(m) {
		return record{}, errMalformed
	}
	return r, nil
}

// skipQuestions gives the offset after the questions.
func (m message) skipQuestions() (int, error) {
	off := headerLen
	for range m.count(sectionQuestion) {
		at, err := m.skipName(off)
		if err != nil || len(m)-at < 4 {
			return 0, errMalformed
		}
		off = at + 4
	}
	return off, nil
}

// skipName gives the offset after the name at off. Where that name ends in a
// pointer, it does not look at what the pointer points to.
func (m message) skipName(off int) (int, error) {
	for start := off; off < len(m) && off-start < maxName; {
		switch c := int(m[off]); {
		case c == 0:
			return off + 1, nil // off-start < maxName holds the limit
		case c > maxLabel && c < 0xc0:
			return 0, errMalformed
		case c >= 0xc0 && off+2 <= len(m):
			return off + 2, nil
		case c >= 0xc0:
			return 0, errMalformed
		default:
			off += 1 + c
		}
	}
	return 0, errMalformed
}
