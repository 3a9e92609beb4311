// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
)

// element is a value of a definition, whichever language it was written in, with
// its line for errors. Exactly one of the fields after line counts, by kind.
type element struct {
	line    int
	kind    kind
	members []member // of an object, in their order; HCL may repeat keys
	list    []element
	scalar  any // string, bool, int64, float64, or nil for JSON's null
}

type member struct {
	key   string
	line  int
	value element
}

type kind int

const (
	scalarKind kind = iota
	listKind
	objectKind
)

// maxDepth bounds how deep values may be nested. Consul's own go a dozen deep.
const maxDepth = 64

// fileError is a problem at a line of the file.
type fileError struct {
	file string
	line int
	text string
}

func (e *fileError) Error() string { return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.text) }

// parse reads JSON or HCL, as the file's name tells, or else its first character.
func parse(path string, data []byte) (element, error) {
	isJSON := strings.HasPrefix(strings.TrimSpace(string(data)), "{")
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		isJSON = true
	case ".hcl":
		isJSON = false
	}
	if isJSON {
		return parseJSON(path, data)
	}
	return parseHCL(path, data)
}

// fold makes the spellings of a key equal: Consul takes the snake_case of its
// configuration files and the CamelCase of its API in the same places.
func fold(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

// plain gives the value as encoding/json would have it. A block is an object, a
// repeated one a list of them.
func (e element) plain() any {
	switch e.kind {
	case listKind:
		out := make([]any, 0, len(e.list))
		for _, v := range e.list {
			out = append(out, v.plain())
		}
		return out
	case objectKind:
		out := map[string]any{}
		for _, group := range e.grouped(func(key string) string { return key }) {
			if len(group) == 1 {
				out[group[0].key] = group[0].value.plain()
				continue
			}
			all := make([]any, 0, len(group))
			for _, m := range group {
				all = append(all, m.value.plain())
			}
			out[group[0].key] = all
		}
		return out
	default:
		return e.scalar
	}
}

// grouped gives the members with equal keys together, in the order of the file.
func (e element) grouped(equal func(string) string) [][]member {
	var groups [][]member
	index := map[string]int{}
	for _, m := range e.members {
		name := equal(m.key)
		i, seen := index[name]
		if !seen {
			i = len(groups)
			index[name] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], m)
	}
	return groups
}

// describe names a value's type for an error.
func (e element) describe() string {
	switch e.kind {
	case listKind:
		return "a list"
	case objectKind:
		return "an object"
	}
	switch e.scalar.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case nil:
		return "null"
	default:
		return "a number"
	}
}

// whole gives a number without a fraction.
func (e element) whole() (int64, bool) {
	switch v := e.scalar.(type) {
	case int64:
		return v, e.kind == scalarKind
	case float64:
		return int64(v), e.kind == scalarKind && v == math.Trunc(v) && math.Abs(v) < 1<<53
	default:
		return 0, false
	}
}
