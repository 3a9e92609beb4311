// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"net/url"
	"strings"
)

// unescapeSlashes turns %2F and %5C into the characters they stand for.
func unescapeSlashes(path string) string {
	return strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", `\`, "%5c", `\`).Replace(path)
}

// normalPath resolves dot segments, turns backslashes into slashes and unescapes what needs no escape, as RFC 3986
// describes and Envoy's normalize_path does. ok is false for a path that would leave the root or is malformed.
func normalPath(path string) (normal string, ok bool) {
	if !strings.HasPrefix(path, "/") {
		return path, path == "*"
	}
	path = strings.ReplaceAll(unescapeUnreserved(path), `\`, "/")
	var out []string
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/"), true
}

// unescapeUnreserved decodes the escapes of letters, digits and -._~.
func unescapeUnreserved(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil && len(c) == 1 && unreserved(c[0]) {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// setPath gives a URL an escaped path.
func setPath(u *url.URL, escaped string) bool {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return false
	}
	u.Path, u.RawPath = path, escaped
	return true
}
