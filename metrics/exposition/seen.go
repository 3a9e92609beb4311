// SPDX-License-Identifier: MPL-2.0

package exposition

// seen is a set of hashes of series. It keeps its size from one family to the
// next, unless that was much too large: emptying it costs what it is large.
type seen struct {
	table []uint64 // len is a power of two; 0 is an empty slot
	spare []uint64 // what table was before it grew, to grow into again
	n     int
	full  int // at which n the table has to grow: at three quarters
}

const minSeen = 64

func (s *seen) reset() {
	if s.n == 0 {
		return
	}
	for len(s.table) > minSeen && len(s.table) > 8*s.n {
		s.table = s.table[:len(s.table)/2]
	}
	clear(s.table)
	s.n, s.full = 0, len(s.table)/4*3
}

// add puts h in and says whether it had been there.
func (s *seen) add(h uint64) bool {
	if s.n >= s.full {
		s.grow()
	}
	h |= 1 // 0 is an empty slot
	mask := uint64(len(s.table) - 1)
	for i := h * odd >> 32 & mask; ; i = (i + 1) & mask {
		switch s.table[i] {
		case h:
			return true
		case 0:
			s.table[i] = h
			s.n++
			return false
		}
	}
}

func (s *seen) grow() {
	old, size := s.table, max(minSeen, 2*len(s.table))
	if cap(s.spare) < size {
		s.spare = make([]uint64, size)
	}
	s.table, s.spare, s.n, s.full = s.spare[:size], old, 0, size/4*3
	clear(s.table)
	for _, h := range old {
		if h != 0 {
			s.add(h)
		}
	}
}
