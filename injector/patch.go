// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// patch collects the additions to a pod, as a JSON patch (RFC 6902).
type patch struct{ operations []operation }

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func (p *patch) add(path string, value any) {
	p.operations = append(p.operations, operation{Op: "add", Path: path, Value: value})
}

func (p *patch) encode() ([]byte, error) { return json.Marshal(p.operations) }

// pointerEscape writes a key as part of a JSON pointer (RFC 6901).
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// entries adds to a map of strings; there is none yet if it has no entry.
func (p *patch) entries(path string, existing, more map[string]string) {
	if len(existing) == 0 {
		p.add(path, more)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(more)) {
		p.add(path+"/"+pointerEscape.Replace(key), more[key])
	}
}

// before puts elements before the n of a list, which is missing, null or empty
// if n is 0.
func before[T any](p *patch, path string, n int, more []T) {
	switch {
	case len(more) == 0:
	case n == 0:
		p.add(path, more)
	default:
		for i, element := range more {
			p.add(path+"/"+strconv.Itoa(i), element)
		}
	}
}

// behind puts elements behind the n of a list.
func behind[T any](p *patch, path string, n int, more []T) {
	switch {
	case len(more) == 0:
	case n == 0:
		p.add(path, more)
	default:
		for _, element := range more {
			p.add(path+"/-", element)
		}
	}
}
