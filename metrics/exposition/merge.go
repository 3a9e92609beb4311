// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"cmp"
	"strconv"
	"strings"
)

// Source is one exposition with the name that it has in this merge.
type Source struct {
	Name       string
	Exposition *Exposition
}

// Rename says that a family could not keep its name.
type Rename struct {
	Source   string
	From, To string
}

// Merged is what several sources are as one exposition. It refers to their
// memory: write it before any of them is closed.
type Merged struct {
	format  Format
	groups  []*group
	renames []Rename
}

// Renames returns the families that had to be renamed because an earlier source
// uses their name with another type, or for a sample of another family.
func (m *Merged) Renames() []Rename { return m.renames }

// Merge arranges the families of the sources, in their order, for the format.
//
// Families of the same name and type become one, under the first HELP that
// there is. A family whose names clash with those of an earlier one is renamed
// by adding "_from_" and the name of its source. Series that occur twice within
// a family are written once, as the first source has them. The exception is two
// names that differ only in characters that both become underscores; then the
// later one may count as the same series.
func Merge(format Format, sources ...Source) *Merged {
	total := 0
	for _, src := range sources {
		total += len(src.Exposition.families.list)
	}
	m := &Merged{format: format, groups: make([]*group, 0, total)}
	p := placer{
		m:      m,
		byName: make(map[string]*group, total),
		owner:  make(map[string]*group, total),
		plain:  make(map[string]bool),
	}
	if format == OpenMetrics {
		p.avoid(sources)
	}
	for _, src := range sources {
		for _, f := range src.Exposition.families.list {
			if f.samples == 0 {
				continue
			}
			for _, v := range views(f, src.Exposition.format, format) {
				v.source = src.Name
				if p.plain[v.name()] && v.name() != f.name {
					v.keepName()
				}
				p.place(v)
			}
		}
	}
	return m
}

// group is a family of the output.
type group struct {
	name  string
	typ   Type
	views []*view
}

// view is what a family of a source contributes to one family of the output.
type view struct {
	family *family
	source string
	from   Format
	typ    Type

	// The names of the samples are stem and a suffix, and become newStem and
	// that suffix. The family is called newStem and metaSuffix.
	stem, newStem, metaSuffix string

	// only has the suffixes of the family's samples that are shown here.
	only suffix
}

func (v *view) name() string { return v.newStem + v.metaSuffix }

// views returns what f, of a source in the format from, becomes in the format
// to: one family, or several, if the format to does not know its type.
func views(f *family, from, to Format) []*view {
	v := &view{family: f, from: from, typ: f.typ, stem: f.name, only: sufAll}
	if from == Text && f.typ == Counter {
		if stem, ok := strings.CutSuffix(f.name, "_total"); ok && stem != "" {
			v.stem, v.metaSuffix = stem, "_total"
		}
	}
	v.newStem = v.stem
	switch {
	case from == to:
		return []*view{v}
	case to == Text:
		return v.split()
	}
	// OpenMetrics names a counter without the _total that its sample must have.
	if f.typ == Counter {
		if v.metaSuffix == "_total" {
			v.metaSuffix = ""
		} else {
			v.typ = Unknown
		}
	}
	return []*view{v}
}

// split shows a family of OpenMetrics as families of the text format. Every
// sample keeps its name.
func (v *view) split() []*view {
	f := v.family
	main, typ := sufNone, Gauge
	switch f.typ {
	case Histogram:
		main, typ = sufNone|sufBucket|sufSum|sufCount, Histogram
	case Summary:
		main, typ = sufNone|sufSum|sufCount, Summary
	case Unknown:
		typ = Unknown
	case Counter:
		main = sufTotal
	}
	var out []*view
	add := func(only suffix, metaSuffix string, t Type) {
		if f.seen&only == 0 {
			return
		}
		part := *v
		part.only, part.metaSuffix, part.typ = only, metaSuffix, t
		out = append(out, &part)
	}
	if f.typ == Counter {
		add(sufTotal, "_total", Counter)
		add(sufNone, "", Unknown)
	} else {
		add(main, "", typ)
	}
	for i, name := range suffixNames[1:] {
		if bit := suffix(2) << i; main&bit == 0 {
			add(bit, name, Gauge)
		}
	}
	return out
}

// keepName shows a counter of the text format under its whole name, because the
// one without _total, which OpenMetrics wants, is another family's.
func (v *view) keepName() {
	v.typ, v.stem, v.newStem, v.metaSuffix = Unknown, v.family.name, v.family.name, ""
}

// placer puts views into groups so that no name is in two of them.
type placer struct {
	m      *Merged
	byName map[string]*group
	owner  map[string]*group // by the name of a family or of one of its samples
	plain  map[string]bool   // the names that families have in their sources
}

// avoid notes the names of all families. A counter foo_total may not become
// foo, in OpenMetrics, if any of them is called that.
func (p *placer) avoid(sources []Source) {
	for _, src := range sources {
		for _, f := range src.Exposition.families.list {
			if f.samples > 0 && (src.Exposition.format == Text || f.typ != Counter) {
				p.plain[f.name] = true
			}
		}
	}
}

func (p *placer) place(v *view) {
	if p.join(v) || p.found(v) {
		return
	}
	stem := v.newStem + "_from_" + identifier(v.source)
	for i := 1; ; i++ {
		v.newStem = stem
		if i > 1 {
			v.newStem += "_" + strconv.Itoa(i)
		}
		if p.found(v) {
			break
		}
	}
	p.m.renames = append(p.m.renames, Rename{Source: v.source, From: v.stem + v.metaSuffix, To: v.name()})
}

// join adds v to the group of its name, if the two are of one kind.
func (p *placer) join(v *view) bool {
	g := p.byName[v.name()]
	if g == nil {
		return false
	}
	typ := g.typ
	if g.typ != v.typ {
		typ = max(g.typ, v.typ)
		simple := typ == Gauge || typ == Counter && p.m.format == Text
		if min(g.typ, v.typ) != Unknown || !simple {
			return false
		}
	}
	if !p.claim(v, g) {
		return false
	}
	g.typ = typ
	g.views = append(g.views, v)
	return true
}

// found starts a group with v, if all of its names are free.
func (p *placer) found(v *view) bool {
	g := &group{name: v.name(), typ: v.typ, views: []*view{v}}
	if !p.claim(v, g) {
		return false
	}
	p.byName[g.name] = g
	p.m.groups = append(p.m.groups, g)
	return true
}

// claim gives g the names that v needs, unless one is another group's: those
// that its type implies, and _created, which is optional, if it is there.
func (p *placer) claim(v *view, g *group) bool {
	needs := suffixes(v.typ, p.m.format)
	needs &^= sufCreated &^ v.family.seen
	if needs == sufNone { // Most of them.
		o := p.owner[g.name]
		p.owner[g.name] = cmp.Or(o, g)
		return o == nil || o == g
	}
	for _, take := range []bool{false, true} {
		for i, name := range suffixNames {
			if needs&(1<<i) == 0 {
				continue
			}
			if take {
				p.owner[g.name+name] = g
			} else if o := p.owner[g.name+name]; o != nil && o != g {
				return false
			}
		}
	}
	return true
}

// identifier makes s fit for the middle of a metric name.
func identifier(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && class[byte(r)]&labelByte != 0 {
			return r
		}
		return '_'
	}, s)
}
