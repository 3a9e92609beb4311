// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"fmt"
	"syscall"
)

const (
	// The first chunk of a source is small, because most sources are; each
	// further one is larger, up to the size of a huge page: a big source then
	// costs few page faults, and is written in long runs.
	minChunk    = 64 << 10
	chunkGrowth = 8
	maxChunk    = 2 << 20

	// slack is kept free at the end of a chunk: validation loads eight bytes at
	// a time, and the newline missing at the end of a source is put there.
	slack = 16

	// Advice of madvise(2) that syscall does not name.
	madvFree     = 8  // MADV_FREE
	madvHugePage = 14 // MADV_HUGEPAGE
)

// chunk is memory for the text of a source. It is mapped, not allocated: a
// scrape of many megabytes neither moves the garbage collector's goal nor stays
// in the process when it is over.
type chunk struct {
	data []byte
	n    int // bytes in use; whole lines, once the chunk is full
	pool *Pool
}

func newChunk(size int, pool *Pool) (*chunk, error) {
	if size == maxChunk {
		if data := pool.take(); data != nil {
			return &chunk{data: data, pool: pool}, nil
		}
	}
	data, err := syscall.Mmap(-1, 0, size,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	if size == maxChunk {
		// Only a hint: without huge pages it is as right, and slower.
		_ = syscall.Madvise(data, madvHugePage)
	}
	return &chunk{data: data, pool: pool}, nil
}

// space returns the part that is still to be filled.
func (c *chunk) space() []byte { return c.data[c.n : len(c.data)-slack] }

func (c *chunk) free() {
	if len(c.data) != maxChunk || !c.pool.keep(c.data) {
		unmap(c.data)
	}
	c.data = nil
}

// unmap cannot fail on what Mmap returned.
func unmap(data []byte) { _ = syscall.Munmap(data) }
