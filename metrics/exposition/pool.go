// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"sync"
	"syscall"
)

// maxKept bounds a Pool: 32 MiB, which is more than one scrape of a large pod.
const maxKept = 16

// Pool keeps the large chunks of one scrape for the next one, because a kernel
// that has to clear every page anew takes as long for that as for copying the
// text. What is kept is the kernel's to take at any time, without asking and
// without swapping (MADV_FREE of madvise(2)): it counts as resident, but it
// cannot put the process over its limit.
//
// The zero Pool is ready, and a nil one keeps nothing. It may be used by several
// goroutines.
type Pool struct {
	mu   sync.Mutex
	kept [][]byte
}

// Release gives all that is kept back to the system.
func (p *Pool) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, data := range p.kept {
		unmap(data)
	}
	p.kept = nil
}

// take returns memory of the size maxChunk, with anything in it, or nil.
func (p *Pool) take() []byte {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.kept) - 1
	if n < 0 {
		return nil
	}
	data := p.kept[n]
	p.kept = p.kept[:n]
	return data
}

// keep says whether it took data, which is of the size maxChunk.
func (p *Pool) keep(data []byte) bool {
	if p == nil || syscall.Madvise(data, madvFree) != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) == maxKept {
		return false
	}
	p.kept = append(p.kept, data)
	return true
}
