// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"math"
	"strconv"
)

// fastNumber returns the end of the plain decimal number at buf[p:], which a
// byte that is not part of it must follow. It returns p if what is there has to
// be left to validNumber: it only knows short numbers that cannot overflow.
func fastNumber(buf []byte, p int) int {
	start := p
	if buf[p] == '-' {
		p++
	}
	first := p
	p = digitsEnd(buf, p)
	n := p - first
	if buf[p] == '.' {
		p++
		first = p
		p = digitsEnd(buf, p)
		n += p - first
	}
	if n == 0 || n > 40 {
		return start
	}
	if buf[p] == 'e' {
		p++
		if buf[p] == '+' || buf[p] == '-' {
			p++
		}
		first = p
		if p = digitsEnd(buf, p); p == first || p-first > 2 {
			return start
		}
	}
	return p
}

// validNumber says whether b is a floating-point number of both formats.
func validNumber(b []byte) bool {
	_, ok := parseNumber(b)
	return ok
}

func parseNumber(b []byte) (float64, bool) {
	// Go's syntax has hexadecimal numbers and underscores in addition.
	if len(b) == 0 || bytes.ContainsAny(b, "pPxX_") {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil
}

// validTimestamp checks whole milliseconds in Text, seconds in OpenMetrics.
func validTimestamp(b []byte, f Format) bool {
	if f == Text {
		_, err := strconv.ParseInt(string(b), 10, 64)
		return err == nil
	}
	v, ok := parseNumber(b)
	return ok && math.Abs(v) < math.MaxInt64/1000
}

// appendTimestamp appends ts, which is valid in the format from, as to has it.
func appendTimestamp(dst, ts []byte, from, to Format) []byte {
	switch {
	case from == to:
		return append(dst, ts...)
	case to == Text:
		v, _ := parseNumber(ts)
		return strconv.AppendInt(dst, int64(math.Round(v*1000)), 10)
	default:
		ms, _ := strconv.ParseInt(string(ts), 10, 64)
		return strconv.AppendFloat(dst, float64(ms)/1000, 'f', 3, 64)
	}
}
