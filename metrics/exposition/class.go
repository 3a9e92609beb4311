// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"encoding/binary"
	"math/bits"
)

// What a byte can be part of.
const (
	digitByte  uint8 = 1 << iota // 0-9
	labelByte                    // a label's name
	metricByte                   // a metric's name
)

var class = func() (t [256]uint8) {
	for c := range t {
		switch b := byte(c); {
		case b >= '0' && b <= '9':
			t[c] = digitByte | labelByte | metricByte
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_':
			t[c] = labelByte | metricByte
		case b == ':':
			t[c] = metricByte
		}
	}
	return t
}()

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, by the highest bit, those of the eight bytes of x at which a
// label value ends or needs care: a quote, a backslash, a control character,
// one outside ASCII. The lowest mark is right; those above it need not be, as
// subtraction borrows from the byte above.
func special(x uint64) uint64 {
	quote := x ^ lows*'"'
	slash := x ^ lows*'\\'
	marks := (quote-lows)&^quote | (slash-lows)&^slash | (x - lows*0x20) | x
	return marks & highs
}

func load(b []byte, p int) uint64 { return binary.LittleEndian.Uint64(b[p:]) }

// notDigits marks the bytes of x that are no digits.
func notDigits(x uint64) uint64 {
	// A digit becomes 0 to 9, and stays below 0x80 when 0x76 is added.
	x ^= lows * '0'
	return (x&^highs + lows*0x76 | x) & highs
}

// digitsEnd returns where the digits at buf[p:] end.
func digitsEnd(buf []byte, p int) int {
	for {
		if marks := notDigits(load(buf, p)); marks != 0 {
			return p + trailingBytes(marks)
		}
		p += 8
	}
}

// trailingBytes returns the index of the lowest byte that marks has set.
func trailingBytes(marks uint64) int { return bits.TrailingZeros64(marks) >> 3 }

// odd spreads bits upwards when multiplied by: 2^64 over the golden ratio.
const odd = 0x9E3779B97F4A7C15

// fold adds eight bytes to a hash. It is quick rather than good: two series of
// one hash only cost a closer look.
func fold(h, x uint64) uint64 {
	h = (h ^ x) * odd
	return h ^ h>>32
}

// mix hashes buf[p:end].
func mix(buf []byte, p, end int) uint64 {
	h := uint64(end - p)
	for ; p+8 <= end; p += 8 {
		h = fold(h, load(buf, p))
	}
	if p < end {
		h = fold(h, load(buf, p)<<(64-8*uint(end-p)))
	}
	return h
}
