// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

var errType = errors.New("unknown metric type")

// comment scans a line that begins with a hash sign: metadata of a family, the
// end marker of OpenMetrics, or nothing that matters.
func (s *scanner) comment(line []byte, p, next int) error {
	s.prev.forget()
	if s.e.format == OpenMetrics && string(bytes.TrimRight(line, "\r")) == "# EOF" {
		s.eof = true
		s.closeSegment()
		return nil
	}
	rest := parser{rest: bytes.TrimRight(bytes.TrimLeft(line, " \t")[1:], "\r")}
	rest.blanks()
	keyword := string(rest.token())
	rest.blanks()
	known := keyword == "HELP" || keyword == "TYPE" || keyword == "UNIT" && s.e.format == OpenMetrics
	if !known || len(rest.rest) == 0 {
		s.closeSegment()
		return nil
	}
	name, err := rest.metaName()
	if err != nil {
		return err
	}
	rest.blanks()
	f := s.e.families.get(name)
	if f != s.family || s.open.c == nil {
		s.endFamily(f)
		s.startSegment(p)
	}
	if f.samples > 0 {
		// Metadata in the midst of samples: neither can go out as it is.
		f.dirtyMeta, f.dirtyBody = true, true
	}
	if err := s.metadata(f, keyword, rest.rest); err != nil {
		return err
	}
	if s.open.end == s.open.body {
		s.open.body = next
	}
	s.open.end = next
	if !canonicalMeta(s.buf[p:next-1], keyword, name, rest.rest) {
		f.dirtyMeta = true
	}
	return nil
}

// canonicalMeta says whether line is the one way to write these three.
func canonicalMeta(line []byte, keyword, name string, text []byte) bool {
	textAt := len("# HELP ") + len(name) + 1
	return len(line) == textAt+len(text) &&
		string(line[:2]) == "# " && string(line[2:6]) == keyword && line[6] == ' ' &&
		string(line[7:textAt-1]) == name && line[textAt-1] == ' '
}

// metadata notes what a HELP, TYPE or UNIT line says of f.
func (s *scanner) metadata(f *family, keyword string, text []byte) error {
	switch keyword {
	case "HELP":
		if f.hasHelp {
			f.dirtyMeta = true
			return nil
		}
		// A carriage return is written as a blank, and blanks before a text are no part of it.
		trimmed := bytes.TrimLeft(text, " \t\r")
		f.dirtyMeta = f.dirtyMeta || len(trimmed) < len(text)
		text = trimmed
		f.hasHelp, f.help = true, text
		f.plainHelp = bytes.IndexByte(text, '\\') < 0 && bytes.IndexByte(text, '"') < 0
		if len(text) == 0 || !f.plainHelp && !bytes.Equal(text, escapeHelp(unescapeHelp(text), s.e.format)) ||
			!utf8.Valid(text) || bytes.IndexByte(text, '\r') >= 0 {
			f.dirtyMeta, f.plainHelp = true, false
		}
	case "TYPE":
		trimmed := bytes.TrimRight(text, " \t")
		f.dirtyMeta = f.dirtyMeta || len(trimmed) < len(text)
		text = trimmed
		if len(text) == 0 {
			f.dirtyMeta = true
			return nil
		}
		t, canonical, ok := parseType(string(text), s.e.format)
		if !ok {
			return errType
		}
		s.e.families.declare(f, t, canonical)
	case "UNIT":
		unit := string(text)
		if f.unit != "" || !strings.HasSuffix(f.name, "_"+unit) {
			f.dirtyMeta = true
			return nil
		}
		f.unit = unit
	}
	return nil
}

// metaName reads the metric name of a metadata line.
func (p *parser) metaName() (string, error) {
	if len(p.rest) > 0 && p.rest[0] == '"' {
		raw, err := p.quotedValue()
		if err != nil {
			return "", err
		}
		name := escapeName(unescape(raw), true)
		if name == nil {
			return "", errName
		}
		return string(name), nil
	}
	name, err := p.metricName()
	if err != nil {
		return "", err
	}
	if len(p.rest) > 0 && p.rest[0] != ' ' && p.rest[0] != '\t' {
		return "", errName
	}
	return string(name), nil
}

// unescapeHelp undoes the escapes of a HELP text. A backslash that begins none
// stands for itself.
func unescapeHelp(text []byte) []byte {
	return bytes.ToValidUTF8(unescape(text), []byte("\uFFFD"))
}

// escapeHelp escapes a HELP text: a quote is escaped in OpenMetrics only.
func escapeHelp(text []byte, to Format) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		switch {
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\\', c == '"' && to == OpenMetrics:
			out = append(out, '\\', c)
		case c == '\r':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out
}
