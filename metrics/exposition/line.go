// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

var (
	errName      = errors.New("invalid metric name")
	errLabel     = errors.New("invalid label")
	errTwice     = errors.New("label given twice")
	errQuote     = errors.New("label value without its end")
	errEscape    = errors.New("unknown escape sequence")
	errUTF8      = errors.New("text that is not UTF-8")
	errValue     = errors.New("value that is not a number")
	errTimestamp = errors.New("invalid timestamp")
	errTrailing  = errors.New("more than a sample on the line")
	errNegative  = errors.New("negative count in a histogram")
	errBound     = errors.New("bucket or quantile that is not a number")
)

// parser takes lines apart, tolerantly: blanks wherever Prometheus takes them,
// quoted names (whose characters outside the classic set become underscores,
// which every scraper understands), carriage returns. It is the slow way; the
// memory of one sample serves the next.
type parser struct {
	format Format
	rest   []byte
}

func (p *parser) blanks() {
	p.rest = bytes.TrimLeft(p.rest, " \t")
}

// next says whether c comes next, and takes it.
func (p *parser) next(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// token takes everything up to the next blank.
func (p *parser) token() []byte {
	i := bytes.IndexAny(p.rest, " \t")
	if i < 0 {
		i = len(p.rest)
	}
	t := p.rest[:i]
	p.rest = p.rest[i:]
	return t
}

// parse takes line, which is without its newline, apart into s.
func (p *parser) parse(line []byte, s *sample) error {
	p.rest = bytes.TrimRight(line, " \t\r")
	*s = sample{labels: s.labels[:0], exemplar: exemplar{labels: s.exemplar.labels[:0]}}
	p.blanks()
	if !p.next('{') {
		name, err := p.metricName()
		if err != nil {
			return err
		}
		s.name = name
		p.blanks()
		if p.next('{') {
			s.braces = true
			if s.labels, err = p.labels(s.labels, nil); err != nil {
				return err
			}
		}
	} else {
		var err error
		if s.labels, err = p.labels(s.labels, &s.name); err != nil {
			return err
		}
		if s.name == nil {
			return errName
		}
	}
	p.blanks()
	if s.value = p.token(); !validNumber(s.value) {
		return errValue
	}
	return p.afterValue(s)
}

// afterValue reads the timestamp and the exemplar.
func (p *parser) afterValue(s *sample) error {
	p.blanks()
	if len(p.rest) > 0 && p.rest[0] != '#' {
		if s.timestamp = p.token(); !validTimestamp(s.timestamp, p.format) {
			return errTimestamp
		}
		p.blanks()
	}
	if len(p.rest) == 0 {
		return nil
	}
	if p.format != OpenMetrics || !p.next('#') {
		return errTrailing
	}
	p.blanks()
	if !p.next('{') {
		return errLabel
	}
	var err error
	e := &s.exemplar
	if e.labels, err = p.labels(e.labels, nil); err != nil {
		return err
	}
	p.blanks()
	if e.value = p.token(); !validNumber(e.value) {
		return errValue
	}
	p.blanks()
	if len(p.rest) > 0 {
		if e.timestamp = p.token(); !validTimestamp(e.timestamp, OpenMetrics) {
			return errTimestamp
		}
		p.blanks()
	}
	if len(p.rest) > 0 {
		return errTrailing
	}
	return nil
}

// labels reads up to and with the closing brace. If metric is not nil, it takes
// the quoted metric name that may stand among the labels.
func (p *parser) labels(into []label, metric *[]byte) ([]label, error) {
	for {
		p.blanks()
		if p.next('}') {
			return into, nil
		}
		name, quoted, err := p.labelName()
		if err != nil {
			return into, err
		}
		p.blanks()
		if p.next('=') {
			p.blanks()
			value, err := p.quotedValue()
			if err != nil {
				return into, err
			}
			if name = escapeName(name, false); name == nil || string(name) == model.MetricNameLabel {
				return into, errLabel
			}
			if hasLabel(into, name) {
				return into, errTwice
			}
			into = append(into, label{name, value})
		} else {
			if !quoted || metric == nil || *metric != nil {
				return into, errLabel
			}
			if *metric = escapeName(name, true); *metric == nil {
				return into, errName
			}
		}
		p.blanks()
		if p.next(',') {
			continue
		}
		if !p.next('}') {
			return into, errLabel
		}
		return into, nil
	}
}

func hasLabel(labels []label, name []byte) bool {
	for _, l := range labels {
		if bytes.Equal(l.name, name) {
			return true
		}
	}
	return false
}

// metricName reads a name outside braces.
func (p *parser) metricName() ([]byte, error) {
	i := 0
	for i < len(p.rest) && class[p.rest[i]]&metricByte != 0 {
		i++
	}
	if i == 0 || class[p.rest[0]]&digitByte != 0 {
		return nil, errName
	}
	name := p.rest[:i]
	p.rest = p.rest[i:]
	return name, nil
}

// labelName reads a label's name, or, quoted, any name.
func (p *parser) labelName() (name []byte, quoted bool, err error) {
	if len(p.rest) > 0 && p.rest[0] == '"' {
		raw, err := p.quotedValue()
		if err != nil {
			return nil, true, err
		}
		return unescape(raw), true, nil
	}
	i := 0
	for i < len(p.rest) && class[p.rest[i]]&labelByte != 0 {
		i++
	}
	if i == 0 || class[p.rest[0]]&digitByte != 0 {
		return nil, false, errLabel
	}
	name = p.rest[:i]
	p.rest = p.rest[i:]
	return name, false, nil
}

// quotedValue reads a quoted string, and returns it still escaped.
func (p *parser) quotedValue() ([]byte, error) {
	if !p.next('"') {
		return nil, errLabel
	}
	for i := 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '"':
			v := p.rest[:i]
			p.rest = p.rest[i+1:]
			if !utf8.Valid(v) {
				return nil, errUTF8
			}
			return v, nil
		case '\\':
			i++
			if i == len(p.rest) || !validEscape(p.rest[i]) {
				return nil, errEscape
			}
		}
	}
	return nil, errQuote
}
