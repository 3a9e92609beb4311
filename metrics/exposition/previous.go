// SPDX-License-Identifier: MPL-2.0

package exposition

// maxBounds is how many labels a sample may have on the fast way.
const maxBounds = 24

// bound is where a label of the previous sample begins and its name ends,
// counted from the start of the line.
type bound struct {
	start, nameEnd int32
	number         bool   // its value must be one
	nameHash       uint64 // of its name
	hash           uint64 // of the series up to here, without this label
}

// previous remembers the last sample that was checked, for the next one usually
// begins with the same name and the same labels, and often ends with the same
// ones: what two lines have in common is compared, at the speed of memory,
// instead of being checked again.
type previous struct {
	start  int    // in the chunk; -1: nothing is known
	value  int    // where the labels end, counted from start
	hash   uint64 // of the series
	labels int
	first  int // the label, counted from 1, at which two lines last differed
	bounds [maxBounds]bound
}

func (p *previous) forget() { p.start, p.labels = -1, 0 }

// resume returns how many labels of the sample at pos, counted from 1, begin
// where those of the previous one did, after the same text; and whether the
// last of them also has the name that it had there.
func (p *previous) resume(buf []byte, pos int) (k int, named bool) {
	if p.start < 0 {
		return 0, false
	}
	before, line := buf[p.start:pos], buf[pos:]
	for k := min(p.first, p.labels); k > 0; k-- {
		b := &p.bounds[k-1]
		// The name and the equals sign and quote after it, at one go.
		if n := int(b.nameEnd) + 2; len(line) >= n && string(before[:n]) == string(line[:n]) {
			p.first = k
			return k, true
		}
		if n := int(b.start); len(line) >= n && string(before[:n]) == string(line[:n]) {
			p.first = k
			return k, false
		}
	}
	p.first = maxBounds
	return 0, false
}

// rest says whether the sample at pos goes on at p, the end of its label number
// n, as the previous one does after its label of that number, up to the end of
// the labels. It returns where that is, or 0, and moves what is remembered.
func (p *previous) rest(buf []byte, pos, at, n int, hash uint64) (int, uint64) {
	if n >= p.labels {
		return 0, 0
	}
	// The label after that begins after a quote and a comma.
	from := int(p.bounds[n].start) - 2
	length := p.value - from
	before, after := p.start+from, buf[at:]
	if len(after) < length || string(buf[before:before+length]) != string(after[:length]) {
		return 0, 0
	}
	moved, more := int32(at-pos-from), hash-p.bounds[n].hash
	for i := range p.bounds[n:p.labels] {
		b := &p.bounds[n+i]
		b.start += moved
		b.nameEnd += moved
		b.hash += more
	}
	return at + length, p.hash + more
}
