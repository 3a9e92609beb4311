// SPDX-License-Identifier: MPL-2.0

package spdlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// record is one log event.
type record struct {
	at        time.Time
	level     string
	component string
	message   string
}

// piece renders one part of a pattern.
type piece func(*strings.Builder, record)

// pattern is a compiled --log-format.
type pattern []piece

// compile reads a format in spdlog's syntax with Envoy's %_ and %j. A flag that
// is not known is printed as it stands, as spdlog does.
// Source: https://github.com/gabime/spdlog/wiki/3.-Custom-formatting and
// https://www.envoyproxy.io/docs/envoy/latest/operations/cli (--log-format)
func compile(format string) pattern {
	var p pattern
	for len(format) > 0 {
		before, rest, found := strings.Cut(format, "%")
		if before != "" {
			p = append(p, literal(before))
		}
		if !found {
			break
		}
		pad, rest := readPadding(rest)
		if rest == "" {
			p = append(p, literal("%"))
			break
		}
		p = append(p, pad.wrap(flag(rest[0])))
		format = rest[1:]
	}
	return p
}

func (p pattern) format(r record) string {
	var b strings.Builder
	for _, render := range p {
		render(&b, r)
	}
	return b.String()
}

func literal(text string) piece {
	return func(b *strings.Builder, _ record) { b.WriteString(text) }
}

// padding is the optional width of a flag: %8l, %-8l, %=8l, and ! to cut.
type padding struct {
	align byte // 0 right, '-' left, '=' centre
	width int
	cut   bool
}

func readPadding(s string) (padding, string) {
	var p padding
	rest := s
	if rest != "" && (rest[0] == '-' || rest[0] == '=') {
		p.align, rest = rest[0], rest[1:]
	}
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	if digits == 0 || digits > 3 {
		return padding{}, s
	}
	p.width, _ = strconv.Atoi(rest[:digits]) // digits only, so it cannot fail
	rest = rest[digits:]
	if rest != "" && rest[0] == '!' {
		p.cut, rest = true, rest[1:]
	}
	return p, rest
}

func (p padding) wrap(inner piece) piece {
	if p.width == 0 {
		return inner
	}
	return func(b *strings.Builder, r record) {
		var text strings.Builder
		inner(&text, r)
		out := text.String()
		missing := p.width - len(out)
		left := missing
		switch {
		case missing <= 0:
			if p.cut {
				out = out[:p.width]
			}
			left, missing = 0, 0
		case p.align == '-':
			left = 0
		case p.align == '=':
			left = missing / 2
		}
		b.WriteString(strings.Repeat(" ", left) + out + strings.Repeat(" ", missing-left))
	}
}

// clock maps the flags that are a time in one of Go's layouts.
func clock(letter byte) (layout string, ok bool) {
	layouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006",
		'C': "06", 'y': "06", 'Y': "2006", 'D': "01/02/06", 'x': "01/02/06", 'm': "01", 'd': "02",
		'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04",
		'T': "15:04:05", 'X': "15:04:05", 'z': "-07:00",
	}
	layout, ok = layouts[letter]
	return layout, ok
}

func flag(letter byte) piece {
	if layout, ok := clock(letter); ok {
		return func(b *strings.Builder, r record) { b.WriteString(r.at.Format(layout)) }
	}
	switch letter {
	case 'e':
		return func(b *strings.Builder, r record) { fmt.Fprintf(b, "%03d", r.at.Nanosecond()/int(time.Millisecond)) }
	case 'f':
		return func(b *strings.Builder, r record) { fmt.Fprintf(b, "%06d", r.at.Nanosecond()/int(time.Microsecond)) }
	case 'F':
		return func(b *strings.Builder, r record) { fmt.Fprintf(b, "%09d", r.at.Nanosecond()) }
	case 'E':
		return func(b *strings.Builder, r record) { b.WriteString(strconv.FormatInt(r.at.Unix(), 10)) }
	case 'v':
		return func(b *strings.Builder, r record) { b.WriteString(r.message) }
	case '_':
		return func(b *strings.Builder, r record) { b.WriteString(strings.ReplaceAll(r.message, "\n", `\n`)) }
	case 'j':
		return func(b *strings.Builder, r record) { b.WriteString(jsonEscape(r.message)) }
	case 'l':
		return func(b *strings.Builder, r record) { b.WriteString(r.level) }
	case 'L':
		return func(b *strings.Builder, r record) { b.WriteString(strings.ToUpper(r.level[:1])) }
	case 'n':
		return func(b *strings.Builder, r record) { b.WriteString(r.component) }
	case 't', 'P':
		return literal(strconv.Itoa(os.Getpid()))
	case '%':
		return literal("%")
	case 'g', 's', '#', '!', '@', '^', '$':
		// Where in the source a line comes from is not known behind hclog, and
		// colours are off: spdlog prints nothing in either case.
		return literal("")
	default:
		return literal("%" + string(letter))
	}
}

// jsonEscape gives the message as it stands between the quotes of a JSON string.
func jsonEscape(s string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return ""
	}
	quoted := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	return string(quoted[1 : len(quoted)-1])
}
