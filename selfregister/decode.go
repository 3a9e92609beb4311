// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// decoder fills structs from elements and collects what is wrong.
type decoder struct {
	file string
	errs []error
}

func (d *decoder) fail(line int, path, format string, args ...any) {
	d.errs = append(d.errs, &fileError{d.file, line, path + ": " + fmt.Sprintf(format, args...)})
}

// err gives all problems in the order of their lines.
func (d *decoder) err() error {
	slices.SortStableFunc(d.errs, func(a, b error) int {
		var x, y *fileError
		if !errors.As(a, &x) || !errors.As(b, &y) {
			return 0
		}
		return cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.text, y.text))
	})
	return errors.Join(d.errs...)
}

// field takes all values that a key was given: one, unless a block of HCL is
// repeated.
type field func(path string, values []member)

// fields hands an object's members to those that know them. Keys of the table
// are in snake_case; a key that is not in it is an error.
func (d *decoder) fields(path string, e element, table map[string]field) {
	byFold := map[string]string{}
	for name := range table {
		byFold[fold(name)] = name
	}
	for _, group := range e.grouped(fold) {
		m := group[0]
		name, known := byFold[fold(m.key)]
		if !known {
			d.fail(m.line, join(path, m.key), "unknown key; known here: %s", strings.Join(slices.Sorted(maps.Keys(table)), ", "))
			continue
		}
		table[name](join(path, name), group)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// single wraps a field that takes one value. JSON's null is no value.
func (d *decoder) single(take func(path string, m member)) field {
	return func(path string, values []member) {
		if len(values) > 1 {
			d.fail(values[1].line, path, "is there twice, first in line %d", values[0].line)
			return
		}
		if m := values[0]; m.value.kind != scalarKind || m.value.scalar != nil {
			take(path, m)
		}
	}
}

func (d *decoder) text(p *string) field {
	return d.single(func(path string, m member) {
		s, ok := m.value.scalar.(string)
		if !ok {
			d.fail(m.line, path, "must be a string, not %s", m.value.describe())
			return
		}
		*p = s
	})
}

func (d *decoder) flag(p *bool) field {
	return d.single(func(path string, m member) {
		b, ok := m.value.scalar.(bool)
		if !ok {
			d.fail(m.line, path, "must be true or false, not %s", m.value.describe())
			return
		}
		*p = b
	})
}

func (d *decoder) number(p *int, low, high int64) field {
	return d.single(func(path string, m member) {
		n, ok := m.value.whole()
		if !ok || n < low || n > high {
			d.fail(m.line, path, "must be a whole number from %d to %d", low, high)
			return
		}
		*p = int(n)
	})
}

// span takes a duration in Go's notation, from low.
func (d *decoder) span(p *time.Duration, low time.Duration) field {
	return d.single(func(path string, m member) {
		s, _ := m.value.scalar.(string)
		v, err := time.ParseDuration(s)
		if err != nil || v < low || v > 24*time.Hour {
			d.fail(m.line, path, `must be a duration from %s to 24h, such as "10s"`, low)
			return
		}
		*p = v
	})
}

// texts takes a list of strings.
func (d *decoder) texts(p *[]string) field {
	return d.single(func(path string, m member) {
		out := []string{}
		if m.value.kind != listKind {
			d.fail(m.line, path, "must be a list of strings, not %s", m.value.describe())
			return
		}
		for _, e := range m.value.list {
			s, ok := e.scalar.(string)
			if !ok {
				d.fail(e.line, path, "must be a list of strings, one is %s", e.describe())
				return
			}
			out = append(out, s)
		}
		*p = out
	})
}

// object takes one object, also where it is the only element of a list.
func (d *decoder) object(take func(path string, e element)) field {
	return d.single(func(path string, m member) {
		e := m.value
		if e.kind == listKind && len(e.list) == 1 {
			e = e.list[0]
		}
		if e.kind != objectKind {
			d.fail(m.line, path, "must be one object, not %s", m.value.describe())
			return
		}
		take(path, e)
	})
}

// each takes objects: a list of them, one alone, or a repeated block.
func (d *decoder) each(take func(path string, e element)) field {
	return func(path string, values []member) {
		var all []element
		for _, m := range values {
			if m.value.kind == listKind {
				all = append(all, m.value.list...)
			} else if m.value.kind == objectKind || m.value.scalar != nil {
				all = append(all, m.value)
			}
		}
		for i, e := range all {
			at := fmt.Sprintf("%s[%d]", path, i)
			if e.kind != objectKind {
				d.fail(e.line, at, "must be an object, not %s", e.describe())
				continue
			}
			take(at, e)
		}
	}
}

// free takes an object whose keys are not ours to know, as it is.
func (d *decoder) free(p *map[string]any) field {
	return d.object(func(_ string, e element) {
		if m, ok := e.plain().(map[string]any); ok {
			*p = m
		}
	})
}

// textMap takes an object of strings.
func (d *decoder) textMap(p *map[string]string) field {
	return d.object(func(path string, e element) {
		out := map[string]string{}
		for _, m := range e.members {
			s, ok := m.value.scalar.(string)
			if !ok {
				d.fail(m.line, join(path, m.key), "must be a string, not %s", m.value.describe())
				continue
			}
			out[m.key] = s
		}
		*p = out
	})
}

// refuse is for keys that Consul knows and that cannot be had here.
func (d *decoder) refuse(because string) field {
	return d.single(func(path string, m member) { d.fail(m.line, path, "is not supported: %s", because) })
}
