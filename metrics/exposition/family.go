// SPDX-License-Identifier: MPL-2.0

package exposition

import "bytes"

// family is one metric family of one source.
type family struct {
	name     string
	typ      Type
	declared bool   // a TYPE line said so
	hasHelp  bool   // a HELP line was seen
	help     []byte // as the source escaped it; in a chunk
	unit     string

	segments []segment
	samples  int
	seen     suffix // the suffixes that its samples have

	left       bool // another family's lines came after some of its own
	dirtyMeta  bool // its metadata lines cannot be written as they are
	dirtyBody  bool // nor can its samples
	plainHelp  bool // its HELP reads the same in both formats
	timestamps bool
	exemplars  bool
}

// segment is a run of lines of one family within a chunk.
type segment struct {
	c     *chunk
	start int // of the metadata lines before the samples, if any
	body  int // of the samples
	end   int
}

// suffixOf returns the suffix that the sample name has in f, or 0 if it is not
// the name of one of its samples.
func (f *family) suffixOf(name []byte, format Format) suffix {
	n := len(f.name)
	if len(name) < n || string(name[:n]) != f.name {
		return 0
	}
	return parseSuffix(name[n:], suffixes(f.typ, format))
}

// maxFamilies bounds how many families a source may have: each costs some 300
// bytes of memory besides its text. No real one comes near.
const maxFamilies = 50_000

// families finds the family of a name.
type families struct {
	format Format
	list   []*family // in the order of appearance
	byName map[string]*family
}

// get returns the family that is called name, which it creates if need be.
func (fs *families) get(name string) *family {
	f := fs.byName[name]
	if f == nil {
		f = &family{name: name, plainHelp: true}
		fs.byName[name] = f
		fs.list = append(fs.list, f)
	}
	return f
}

// ofSample returns the family to which a sample belongs, and its suffix. The
// family whose lines are being read comes first; then one of that very name;
// then one of a type whose samples have suffixes; else it is one of its own.
func (fs *families) ofSample(name []byte, current *family) (*family, suffix) {
	if current != nil {
		if s := current.suffixOf(name, fs.format); s != 0 {
			return current, s
		}
	}
	if f := fs.byName[string(name)]; f != nil {
		return f, sufNone
	}
	if i := bytes.LastIndexByte(name, '_'); i > 0 {
		if f := fs.byName[string(name[:i])]; f != nil {
			if s := f.suffixOf(name, fs.format); s != 0 {
				return f, s
			}
		}
	}
	return fs.get(string(name)), sufNone
}

// declare notes what a TYPE line says of f, as far as that can still be. The
// samples that have been read were checked without it; a type that makes
// demands on samples is therefore not believed when it comes after them.
func (fs *families) declare(f *family, t Type, canonical bool) {
	if f.declared {
		f.dirtyMeta = true
		return
	}
	f.declared = true
	f.dirtyMeta = f.dirtyMeta || !canonical
	if f.samples > 0 {
		f.dirtyMeta = true
		if t != Gauge && (t != Counter || fs.format == OpenMetrics) {
			return
		}
	}
	for i, name := range suffixNames[1:] {
		if suffixes(t, fs.format)&(suffix(2)<<i) == 0 {
			continue
		}
		if other := fs.byName[f.name+name]; other != nil && other.samples > 0 {
			f.dirtyMeta = true
			return
		}
	}
	f.typ = t
}
