// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escaped makes a function that prints its arguments and escapes the result.
func escaped(escape func(string) string) func([]any) (any, error) {
	return func(args []any) (any, error) {
		shown := make([]any, len(args))
		for i, arg := range args {
			shown[i] = printable(arg)
		}
		return escape(fmt.Sprint(shown...)), nil
	}
}

// escapeHTML is for texts between tags and in quoted attributes.
var escapeHTML = strings.NewReplacer(
	`"`, "&#34;", `'`, "&#39;", "&", "&amp;", "<", "&lt;", ">", "&gt;", "\x00", "\uFFFD")

// escapeQuery is for values in the query of a URL.
func escapeQuery(text string) string { return url.QueryEscape(text) }

// escapeJS is for quoted texts in JavaScript. Bytes that are not UTF-8 stay.
func escapeJS(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case strings.ContainsRune(`\'"`, r):
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < ' ', strings.ContainsRune("<>&=", r), r >= utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&out, `\u%04X`, r)
		default:
			out.WriteString(text[i : i+size])
		}
		i += size
	}
	return out.String()
}
