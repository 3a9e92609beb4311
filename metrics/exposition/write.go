// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"hash/maphash"
	"io"
)

// Stats says what Write had to do besides copying.
type Stats struct {
	Bytes      int64          // written
	Duplicates map[string]int // series dropped, by source; nil if none
}

// Write writes the merged exposition to w, in large pieces: what needs no
// change goes from the memory of its source to w without being copied.
func (m *Merged) Write(w io.Writer) (Stats, error) {
	out := &runs{w: w, buf: make([]byte, 0, runBuffer)}
	wr := writer{out: out, to: m.format, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	for _, g := range m.groups {
		wr.group(g)
		if out.err != nil {
			break
		}
	}
	if m.format == OpenMetrics {
		out.append([]byte("# EOF\n"))
	}
	out.flush()
	return Stats{Bytes: out.written, Duplicates: wr.duplicates}, out.err
}

// writer writes groups.
type writer struct {
	out        *runs
	to         Format
	seeds      [2]maphash.Seed
	duplicates map[string]int

	sample  sample
	scratch []byte
	hashed  []byte
	line    []byte
}

func (w *writer) group(g *group) {
	v := g.views[0]
	f := v.family
	alone := len(g.views) == 1
	renamed := v.newStem != v.stem || v.only != sufAll
	bodyAsIs := alone && !renamed && !f.dirtyBody && (v.from == w.to || !f.timestamps && !f.exemplars)
	metaAsIs := bodyAsIs && !f.dirtyMeta && (v.from == w.to || v.metaAlike(w.to))
	if metaAsIs {
		for _, s := range f.segments {
			w.out.run(s.c, s.start, s.end)
		}
		return
	}
	w.metadata(g)
	if bodyAsIs {
		for _, s := range f.segments {
			w.out.run(s.c, s.body, s.end)
		}
		return
	}
	var series map[[2]uint64]struct{}
	if f.dirtyBody || !alone {
		series = make(map[[2]uint64]struct{})
	}
	for _, v := range g.views {
		w.rewrite(v, series)
	}
}

// metaAlike says whether the metadata of v reads the same in the other format.
func (v *view) metaAlike(to Format) bool {
	return v.family.plainHelp && v.family.unit == "" && v.name() == v.family.name &&
		v.typ == v.family.typ && v.typ.name(v.from) == v.typ.name(to)
}

// metadata writes HELP, TYPE and UNIT of a group: the first there is of each.
func (w *writer) metadata(g *group) {
	b := w.line[:0]
	for _, v := range g.views {
		if f := v.family; f.hasHelp && len(f.help) > 0 {
			b = append(b, "# HELP "...)
			b = append(b, g.name...)
			b = append(b, ' ')
			b = append(b, escapeHelp(unescapeHelp(f.help), w.to)...)
			b = append(b, '\n')
			break
		}
	}
	b = append(b, "# TYPE "...)
	b = append(b, g.name...)
	b = append(b, ' ')
	b = append(b, g.typ.name(w.to)...)
	b = append(b, '\n')
	if v := g.views[0]; w.to == OpenMetrics && v.family.unit != "" && v.newStem == v.stem {
		b = append(b, "# UNIT "...)
		b = append(b, g.name...)
		b = append(b, ' ')
		b = append(b, v.family.unit...)
		b = append(b, '\n')
	}
	w.out.append(b)
	w.line = b
}

// rewrite writes the samples of v anew. If series is not nil, it has those that
// were written, and takes the new ones.
func (w *writer) rewrite(v *view, series map[[2]uint64]struct{}) {
	p := parser{format: v.from}
	for _, seg := range v.family.segments {
		text := seg.c.data[seg.start:seg.end]
		for len(text) > 0 && w.out.err == nil {
			n := bytes.IndexByte(text, '\n')
			line := text[:n]
			text = text[n+1:]
			if t := bytes.TrimLeft(line, " \t"); len(t) == 0 || t[0] == '#' {
				continue
			}
			// Read has parsed it before; it cannot fail.
			if p.parse(line, &w.sample) != nil {
				continue
			}
			w.rewriteSample(v, series)
		}
	}
}

func (w *writer) rewriteSample(v *view, series map[[2]uint64]struct{}) {
	rest := w.sample.name[len(v.stem):]
	if v.only != sufAll && parseSuffix(rest, v.only) == 0 {
		return
	}
	if series != nil {
		w.sample.name = append(append(w.scratch[:0], v.newStem...), rest...)
		w.scratch = w.sample.name
		key := w.key()
		if _, twice := series[key]; twice {
			if w.duplicates == nil {
				w.duplicates = make(map[string]int)
			}
			w.duplicates[v.source]++
			return
		}
		series[key] = struct{}{}
	}
	w.line = append(append(w.line[:0], v.newStem...), rest...)
	w.line = appendSample(w.line, &w.sample, "", v.from, w.to)
	w.out.append(w.line)
}

// key identifies the series of w.sample: 128 bits, so that no two of a scrape
// are ever taken for one.
func (w *writer) key() (key [2]uint64) {
	for i, seed := range w.seeds {
		sum := func(b []byte) uint64 { return maphash.Bytes(seed, b) }
		key[i], w.hashed = w.sample.key(sum, w.hashed)
	}
	return key
}

// runBuffer is how much small text is gathered before it is written.
const runBuffer = 64 << 10

// runs gathers what is written into pieces worth a system call. Neighbouring
// bytes of a chunk become one run, and a long run is written as it is.
type runs struct {
	w       io.Writer
	buf     []byte
	c       *chunk // of the pending run
	start   int
	end     int
	written int64
	err     error
}

// run writes c.data[start:end], now or with what follows it.
func (r *runs) run(c *chunk, start, end int) {
	if r.c == c && r.end == start {
		r.end = end
		return
	}
	r.endRun()
	r.c, r.start, r.end = c, start, end
}

// append writes b, which may be reused after it returns.
func (r *runs) append(b []byte) {
	r.endRun()
	r.put(b)
}

func (r *runs) endRun() {
	if r.c == nil {
		return
	}
	b := r.c.data[r.start:r.end]
	r.c = nil
	if len(b) < runBuffer/2 {
		r.put(b)
		return
	}
	r.writeBuffer()
	r.write(b)
}

// put copies b to the buffer.
func (r *runs) put(b []byte) {
	for len(b) > 0 {
		n := copy(r.buf[len(r.buf):cap(r.buf)], b)
		r.buf = r.buf[:len(r.buf)+n]
		b = b[n:]
		if len(r.buf) == cap(r.buf) {
			r.writeBuffer()
		}
	}
}

func (r *runs) flush() {
	r.endRun()
	r.writeBuffer()
}

func (r *runs) writeBuffer() {
	r.write(r.buf)
	r.buf = r.buf[:0]
}

func (r *runs) write(b []byte) {
	if len(b) == 0 || r.err != nil {
		return
	}
	n, err := r.w.Write(b)
	r.written += int64(n)
	r.err = err
}
