// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"sync/atomic"
)

// windowSize is how much text is scanned at a time, while more is being read.
const windowSize = 256 << 10

// window is a run of whole lines in a chunk.
type window struct {
	c          *chunk
	start, end int
}

// pipeline runs the scanner beside the reading of a source, from the first full
// window on. Small sources never have one, and are scanned without a goroutine
// when they have been read.
type pipeline struct {
	scanner *scanner
	windows chan window
	done    chan struct{}
	failed  atomic.Bool
	err     error // of the scanner; to be read after done
}

// submit has the whole lines in c after start scanned, and returns where they
// end. It keeps away from the last bytes of c: the scanner loads some bytes
// beyond the line that it checks, and those must not be written to meanwhile.
func (p *pipeline) submit(c *chunk, start int) int {
	last := bytes.LastIndexByte(c.data[start:max(start, c.n-slack)], '\n')
	if last < 0 {
		return start
	}
	if p.windows == nil {
		p.windows, p.done = make(chan window, maxChunk/windowSize), make(chan struct{})
		go p.run()
	}
	end := start + last + 1
	p.windows <- window{c, start, end}
	return end
}

func (p *pipeline) run() {
	defer close(p.done)
	for w := range p.windows {
		if p.err == nil {
			p.scan(w)
		}
	}
}

func (p *pipeline) scan(w window) {
	if p.err = p.scanner.lines(w.c, w.start, w.end); p.err != nil {
		p.failed.Store(true)
	}
}

// finish submits the last lines of a source, which may lack a newline.
func (p *pipeline) finish(c *chunk, start int) {
	if start < c.n && c.data[c.n-1] != '\n' {
		c.data[c.n] = '\n'
		c.n++
	}
	w := window{c, start, c.n}
	if p.windows == nil {
		p.scan(w)
		return
	}
	p.windows <- w
}

// wait ends the scan, and returns its error.
func (p *pipeline) wait() error {
	if p.windows != nil {
		close(p.windows)
		<-p.done
	}
	if p.err == nil {
		p.scanner.endFamily(nil)
	}
	return p.err
}
