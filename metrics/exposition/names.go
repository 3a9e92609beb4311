// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"unicode/utf8"
)

func validEscape(c byte) bool { return c == '\\' || c == '"' || c == 'n' }

// unescape undoes the three escapes of quoted strings.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) && validEscape(b[i+1]) {
			i++
			if c = b[i]; c == 'n' {
				c = '\n'
			}
		}
		out = append(out, c)
	}
	return out
}

// escapeName returns name with an underscore for every character that the
// classic set has not, as Prometheus does for scrapers that know no other. Only
// metric names may have colons. An empty name gives nil.
func escapeName(name []byte, metric bool) []byte {
	if len(name) == 0 || !utf8.Valid(name) {
		return nil
	}
	allowed := labelByte
	if metric {
		allowed = metricByte
	}
	classic := class[name[0]]&digitByte == 0
	for _, c := range name {
		classic = classic && class[c]&allowed != 0
	}
	if classic {
		return name
	}
	out := make([]byte, 0, len(name)+1)
	for i, r := range string(name) {
		switch {
		case r >= utf8.RuneSelf || class[byte(r)]&allowed == 0:
			out = append(out, '_')
		case i == 0 && class[byte(r)]&digitByte != 0:
			out = append(out, '_')
		default:
			out = append(out, byte(r))
		}
	}
	return out
}
