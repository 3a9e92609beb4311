// SPDX-License-Identifier: MPL-2.0

package exposition

// samplesFast checks samples from p on, as many as are easy, and returns where
// the first line begins that is not, or the end.
func (s *scanner) samplesFast(p, end int) int {
	for p < end && !s.eof && len(s.e.families.list) <= maxFamilies {
		next := s.sampleFast(p)
		if next == 0 {
			break
		}
		if s.open.c == nil {
			s.startSegment(p)
		}
		s.open.end = next
		s.line++
		p = next
	}
	return p
}

// sampleFast checks the sample at pos and returns where the next line begins.
// It returns 0 for a line that it does not know to be both valid and written
// just so; sampleSlow decides about that one. Every loop ends at the latest at
// the newline, which is in no class and marked by special.
func (s *scanner) sampleFast(pos int) int {
	buf, prev := s.buf, &s.prev
	var p, n int
	var hash uint64
	k, named := prev.resume(buf, pos)
	if k > 0 {
		n = k - 1
		p = pos + int(prev.bounds[n].start)
		hash = prev.bounds[n].hash
	} else {
		prev.forget()
		p = pos
		for class[buf[p]]&metricByte != 0 {
			p++
		}
		if p == pos || class[buf[pos]]&digitByte != 0 {
			return 0
		}
		s.belong(buf[pos:p], pos)
		hash = mix(buf, pos, p)
		if buf[p] == '{' {
			if p++; buf[p] == '}' {
				p, n = p+1, -1
			}
		} else {
			n = -1
		}
	}
	if n >= 0 {
		if p, n, hash = s.labelsFast(pos, p, n, hash, named); p == 0 {
			prev.forget()
			return 0
		}
	}
	prev.start, prev.value, prev.hash, prev.labels = pos, p-pos, hash, max(n, 0)
	end := integerFast(buf, p)
	if end == 0 {
		end = s.valueFast(p)
	}
	if end == 0 {
		prev.forget()
		return 0
	}
	s.count(hash)
	return end
}

// labelsFast checks the labels from p on, of which n have been skipped, up to
// and with the closing brace; named says whether the first of them has the name
// that it had in the previous sample. It returns where the brace was, how many
// labels there are, and the hash of the series; or 0.
func (s *scanner) labelsFast(pos, p, n int, hash uint64, named bool) (int, int, uint64) {
	buf, bounds := s.buf, &s.prev.bounds
	alike := named // the names so far are those of the previous sample
	first := n
	for n < maxBounds {
		start := p
		b := &bounds[n]
		if n > first {
			alike = alike && n < s.prev.labels && s.sameName(b, start)
		}
		if alike {
			p += int(b.nameEnd - b.start)
		} else {
			if p = s.nameFast(pos, start, n); p == 0 {
				return 0, 0, 0
			}
			b.number = s.family.boundLabel(buf[start:p])
			b.nameHash = mix(buf, start, p)
		}
		b.start, b.nameEnd, b.hash = int32(start-pos), int32(p-pos), hash
		value := p + 2
		var sum uint64
		if p, sum = quotedFast(buf, value, b.nameHash); p == 0 || b.number && !boundFast(buf, value, p) {
			return 0, 0, 0
		}
		hash += sum
		n++
		if n == first+1 && alike {
			if n < s.prev.labels && hash == bounds[n].hash {
				s.prev.first++ // This one did not differ.
			}
			if end, sum := s.prev.rest(buf, pos, p, n, hash); end > 0 {
				return end, s.prev.labels, sum
			}
		}
		switch p++; buf[p] {
		case ',':
			p++
		case '}':
			return p + 1, n, hash
		default:
			return 0, 0, 0
		}
	}
	return 0, 0, 0
}

// sameName says whether the label at start has the name of b, a label of the
// previous sample, with the same two bytes after it.
func (s *scanner) sameName(b *bound, start int) bool {
	n := int(b.nameEnd-b.start) + 2
	before := s.prev.start + int(b.start)
	if n <= 8 {
		return (load(s.buf, before)^load(s.buf, start))<<(64-8*uint(n)) == 0
	}
	return string(s.buf[before:before+n]) == string(s.buf[start:start+n])
}

// nameFast checks the name of the label at start, of which n precede it in the
// sample at pos, and what must follow a name. It returns where it ends, or 0.
func (s *scanner) nameFast(pos, start, n int) int {
	buf, p := s.buf, start
	if class[buf[p]]&digitByte != 0 {
		return 0
	}
	for class[buf[p]]&labelByte != 0 {
		p++
	}
	if p == start || buf[p] != '=' || buf[p+1] != '"' || s.doubtful(pos, start, p, n) {
		return 0
	}
	return p
}

// doubtful says whether a label's name may be reserved, or is also that of one
// of the n labels before it.
func (s *scanner) doubtful(pos, start, end, n int) bool {
	buf := s.buf
	if buf[start] == '_' && string(buf[start:end]) == "__name__" {
		return true
	}
	for _, b := range s.prev.bounds[:n] {
		if int(b.nameEnd-b.start) == end-start &&
			string(buf[pos+int(b.start):pos+int(b.nameEnd)]) == string(buf[start:end]) {
			return true
		}
	}
	return false
}

// quotedFast returns where the quote is that ends the label value at p, and a
// hash of the value on top of h; or 0 if there is anything but printable ASCII
// and right escapes before the quote.
func quotedFast(buf []byte, p int, h uint64) (int, uint64) {
	for {
		x := load(buf, p)
		marks := special(x)
		if marks == 0 {
			h = fold(h, x)
			p += 8
			continue
		}
		n := trailingBytes(marks)
		h = fold(h, x&(1<<(8*uint(n))-1))
		p += n
		switch buf[p] {
		case '"':
			return p, h
		case '\\':
			if !validEscape(buf[p+1]) {
				return 0, 0
			}
			h = fold(h, uint64(buf[p+1]))
			p += 2
		default:
			return 0, 0
		}
	}
}

// boundFast checks the number in buf[p:end], which a quote follows.
func boundFast(buf []byte, p, end int) bool {
	return fastNumber(buf, p) == end && end > p || string(buf[p:end]) == "+Inf"
}

// integerFast is valueFast for the most common value: up to fifteen digits.
func integerFast(buf []byte, p int) int {
	if buf[p] != ' ' {
		return 0
	}
	p++
	marks := notDigits(load(buf, p))
	n := 0
	if marks == 0 {
		n = 8
		if marks = notDigits(load(buf, p+n)); marks == 0 {
			return 0
		}
	}
	if n += trailingBytes(marks); n > 0 && buf[p+n] == '\n' {
		return p + n + 1
	}
	return 0
}

// valueFast checks what follows the labels: a blank, the value, perhaps a
// timestamp in milliseconds, the newline. It returns where the next line
// begins, or 0.
func (s *scanner) valueFast(p int) int {
	buf := s.buf
	if buf[p] != ' ' {
		return 0
	}
	p++
	value := p
	if p = fastNumber(buf, p); p == value || buf[value] == '-' && s.family.typ == Histogram {
		return 0
	}
	switch buf[p] {
	case '\n':
		return p + 1
	case ' ':
		p++
		ts := p
		for buf[p]-'0' <= 9 {
			p++
		}
		if p == ts || p-ts > 15 || buf[p] != '\n' {
			return 0
		}
		s.family.timestamps = true
		return p + 1
	default:
		return 0
	}
}
