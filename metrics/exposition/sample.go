// SPDX-License-Identifier: MPL-2.0

package exposition

// label is one label of a sample; value is escaped, as between its quotes.
type label struct{ name, value []byte }

// sample is a line that was taken apart. Its slices point into the line, or, if
// a quoted name had to be unescaped, at memory of their own.
type sample struct {
	name      []byte
	braces    bool // even if there are no labels
	labels    []label
	value     []byte
	timestamp []byte   // nil: none
	exemplar  exemplar // its value is nil if there is none
}

// exemplar is what OpenMetrics allows after a sample.
type exemplar struct {
	labels    []label
	value     []byte
	timestamp []byte
}

// appendSample appends s as a line in the format to, under the given name.
func appendSample(dst []byte, s *sample, name string, from, to Format) []byte {
	dst = append(dst, name...)
	if s.braces || len(s.labels) > 0 {
		dst = appendLabels(dst, s.labels)
	}
	dst = append(dst, ' ')
	dst = append(dst, s.value...)
	if s.timestamp != nil {
		dst = append(dst, ' ')
		dst = appendTimestamp(dst, s.timestamp, from, to)
	}
	if e := &s.exemplar; e.value != nil && to == OpenMetrics {
		dst = append(dst, " # "...)
		dst = appendLabels(dst, e.labels)
		dst = append(dst, ' ')
		dst = append(dst, e.value...)
		if e.timestamp != nil {
			dst = append(dst, ' ')
			dst = append(dst, e.timestamp...)
		}
	}
	return append(dst, '\n')
}

func appendLabels(dst []byte, labels []label) []byte {
	dst = append(dst, '{')
	for i, l := range labels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, l.name...)
		dst = append(dst, '=', '"')
		dst = append(dst, l.value...)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// key identifies the series of s, whatever the order of its labels: it is the
// sum of what sum makes of the name, and of each label as name="value without
// the last quote. scratch is overwritten and returned.
func (s *sample) key(sum func([]byte) uint64, scratch []byte) (total uint64, _ []byte) {
	total = sum(s.name)
	for _, l := range s.labels {
		scratch = append(scratch[:0], l.name...)
		scratch = append(scratch, '=', '"')
		scratch = append(scratch, l.value...)
		total += sum(scratch)
	}
	return total, scratch
}

// quickHash gives s the hash that sampleFast gives the same series.
func (s *sample) quickHash(scratch []byte) (total uint64, _ []byte) {
	pad := func(b []byte) []byte {
		scratch = append(append(scratch[:0], b...), "\"\x00\x00\x00\x00\x00\x00\x00\x00"...)
		return scratch
	}
	total = mix(pad(s.name), 0, len(s.name))
	for _, l := range s.labels {
		name := mix(pad(l.name), 0, len(l.name))
		if end, h := quotedFast(pad(l.value), 0, name); end > 0 || len(l.value) == 0 {
			total += h
		} else {
			// The fast way does not know such values, so any hash will do.
			total += fold(name, mix(pad(l.value), 0, len(l.value)))
		}
	}
	return total, scratch
}
