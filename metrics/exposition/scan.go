// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"errors"
)

var errAfterEOF = errors.New("text after # EOF")

// scanner checks the lines of one source and sorts them into families. It knows
// two ways through a sample: sampleFast for what exporters write, and
// sampleSlow, with the tolerant parser, for everything else that is legal.
type scanner struct {
	e      *Exposition
	c      *chunk // that holds the lines being scanned
	buf    []byte // its memory
	family *family
	open   segment // of family; open.c is nil if there is none
	seen   seen    // the series of family
	line   int
	eof    bool

	samples int
	prev    previous

	parser  parser
	sample  sample
	scratch []byte
	labels  []byte
}

func newScanner(e *Exposition) *scanner {
	return &scanner{e: e, parser: parser{format: e.format}}
}

// lines scans the whole lines in c from start to end.
func (s *scanner) lines(c *chunk, start, end int) error {
	if c != s.c {
		s.closeSegment()
		s.c, s.buf = c, c.data
		s.prev.forget()
	}
	for p := start; p < end && len(s.e.families.list) <= maxFamilies; {
		if p = s.samplesFast(p, end); p == end {
			break
		}
		s.line++
		next, err := s.next(p, end)
		if err != nil {
			return &SyntaxError{Line: s.line, Err: err}
		}
		p = next
	}
	if len(s.e.families.list) > maxFamilies {
		return ErrTooLarge
	}
	return nil
}

// next scans the line at p, which sampleFast would not, and returns where the
// one after it begins.
func (s *scanner) next(p, end int) (int, error) {
	n := bytes.IndexByte(s.buf[p:end], '\n')
	line, next := s.buf[p:p+n], p+n+1
	switch trimmed := bytes.Trim(line, " \t\r"); {
	case len(trimmed) == 0:
		s.closeSegment()
		return next, nil
	case s.eof:
		return 0, errAfterEOF
	case trimmed[0] == '#':
		return next, s.comment(line, p, next)
	default:
		if err := s.sampleSlow(line, p, next); err != nil {
			return 0, err
		}
		return next, nil
	}
}

// sampleSlow checks a sample with the parser.
func (s *scanner) sampleSlow(line []byte, p, next int) error {
	s.prev.forget()
	if err := s.parser.parse(line, &s.sample); err != nil {
		return err
	}
	s.belong(s.sample.name, p)
	f := s.family
	if err := f.check(&s.sample); err != nil {
		return err
	}
	f.timestamps = f.timestamps || s.sample.timestamp != nil
	f.exemplars = f.exemplars || s.sample.exemplar.value != nil
	s.scratch = appendSample(s.scratch[:0], &s.sample, string(s.sample.name), s.e.format, s.e.format)
	if !bytes.Equal(s.scratch, s.buf[p:next]) {
		f.dirtyBody = true
	}
	sum, scratch := s.sample.quickHash(s.labels)
	s.labels = scratch
	s.count(sum)
	s.extend(p, next)
	return nil
}

// count notes one sample of the current family, with the hash of its series.
func (s *scanner) count(hash uint64) {
	s.samples++
	s.family.samples++
	if s.seen.add(hash) {
		s.family.dirtyBody = true
	}
}

// check holds sample against what the type of f demands, beyond syntax.
func (f *family) check(smp *sample) error {
	for _, l := range smp.labels {
		if f.boundLabel(l.name) && !validNumber(l.value) {
			return errBound
		}
	}
	if f.typ == Histogram && smp.value[0] == '-' && !bytes.HasSuffix(smp.name, []byte("_sum")) {
		if v, _ := parseNumber(smp.value); v < 0 {
			return errNegative
		}
	}
	return nil
}

// boundLabel says whether the label called name must be a number.
func (f *family) boundLabel(name []byte) bool {
	switch f.typ {
	case Histogram, GaugeHistogram:
		return string(name) == "le"
	case Summary:
		return string(name) == "quantile"
	default:
		return false
	}
}

// belong makes the family of the sample called name, at p, the current one.
func (s *scanner) belong(name []byte, p int) {
	f, suf := s.e.families.ofSample(name, s.family)
	if f != s.family {
		s.endFamily(f)
		s.startSegment(p)
	}
	f.seen |= suf
}

// endFamily leaves the current family for f.
func (s *scanner) endFamily(f *family) {
	s.closeSegment()
	s.prev.forget()
	if s.family == f {
		return
	}
	if s.family != nil {
		s.family.left = true
	}
	if f != nil && f.left {
		f.dirtyMeta, f.dirtyBody = true, true
	}
	s.family = f
	s.seen.reset()
}

func (s *scanner) startSegment(p int) {
	s.open = segment{c: s.c, start: p, body: p, end: p}
}

// extend makes the line from p to next part of the open segment, as a sample.
func (s *scanner) extend(p, next int) {
	if s.open.c == nil {
		s.startSegment(p)
	}
	s.open.end = next
}

// closeSegment ends the open segment after the last line that was put in.
func (s *scanner) closeSegment() {
	if s.open.c != nil && s.open.end > s.open.start {
		s.family.segments = append(s.family.segments, s.open)
	}
	s.open = segment{}
}
