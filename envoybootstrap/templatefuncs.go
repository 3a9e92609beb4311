// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// templateFunc is a function that templates can call.
type templateFunc struct {
	// min and max are how many arguments it takes.
	min, max int
	// call is nil for those that do not evaluate all their arguments: "and" and "or".
	call func(args []any) (any, error)
}

// templateFuncs are those of text/template but for "call": no value is a function.
var templateFuncs = map[string]templateFunc{
	"and": {1, math.MaxInt, nil},
	"or":  {1, math.MaxInt, nil},
	"not": {1, 1, func(args []any) (any, error) { return !truth(args[0]), nil }},

	"eq": {2, math.MaxInt, func(args []any) (any, error) { return equalsAny(args[0], args[1:]) }},
	"ne": {2, 2, compared(func(less, equal bool) bool { return !equal }, equalOnly)},
	"lt": {2, 2, compared(func(less, equal bool) bool { return less }, ordered)},
	"le": {2, 2, compared(func(less, equal bool) bool { return less || equal }, ordered)},
	"gt": {2, 2, compared(func(less, equal bool) bool { return !less && !equal }, ordered)},
	"ge": {2, 2, compared(func(less, equal bool) bool { return !less }, ordered)},

	"len":   {1, 1, func(args []any) (any, error) { return length(args[0]) }},
	"index": {1, math.MaxInt, func(args []any) (any, error) { return index(args[0], args[1:]) }},
	"slice": {1, 4, func(args []any) (any, error) { return slice(args[0], args[1:]) }},

	"print":    {0, math.MaxInt, func(args []any) (any, error) { return fmt.Sprint(args...), nil }},
	"println":  {0, math.MaxInt, func(args []any) (any, error) { return fmt.Sprintln(args...), nil }},
	"printf":   {1, math.MaxInt, sprintf},
	"html":     {0, math.MaxInt, escaped(escapeHTML.Replace)},
	"js":       {0, math.MaxInt, escaped(escapeJS)},
	"urlquery": {0, math.MaxInt, escaped(escapeQuery)},
}

// truth tells whether a value is not its type's zero. Structs are always true.
func truth(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case byte:
		return v != 0
	case float64:
		return v != 0
	case complex128:
		return v != 0
	case string:
		return v != ""
	case []string:
		return len(v) > 0
	}
	return true
}

// printable is how a value is written where it is not an argument of print.
func printable(value any) any {
	if value == nil {
		return "<no value>"
	}
	return value
}

// sprintf is fmt's but for formats that repeat their arguments beyond maxTemplateOutput.
func sprintf(args []any) (any, error) {
	format, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("the format has type %T, not string", args[0])
	}
	longest := 0
	for _, arg := range args[1:] {
		if text, ok := arg.(string); ok {
			longest = max(longest, len(text))
		}
	}
	// Only an explicit index, as in %[1]s, prints an argument again.
	if longest*strings.Count(format, "[") > maxTemplateOutput {
		return nil, errors.New("the format repeats its arguments too often")
	}
	return fmt.Sprintf(format, args[1:]...), nil
}

func length(of any) (any, error) {
	switch v := of.(type) {
	case string:
		return len(v), nil
	case []string:
		return len(v), nil
	}
	return nil, fmt.Errorf("len of type %T", of)
}

// index gives of[at[0]][at[1]]…: a list's element is a text, a text's element is a byte.
func index(of any, at []any) (any, error) {
	if of == nil {
		return nil, errors.New("index of untyped nil")
	}
	for _, a := range at {
		n, err := length(of)
		if err != nil {
			return nil, fmt.Errorf("can't index item of type %T", of)
		}
		i, err := position(a, n.(int)-1)
		if err != nil {
			return nil, err
		}
		switch v := of.(type) {
		case string:
			of = v[i]
		case []string:
			of = v[i]
		}
	}
	return of, nil
}

// slice gives of[at[0]:at[1]:at[2]], as Go does: a list can grow within its capacity, a text takes two bounds.
func slice(of any, at []any) (any, error) {
	n, err := length(of)
	if err != nil {
		return nil, fmt.Errorf("can't slice item of type %T", of)
	}
	list, isList := of.([]string)
	bounds, most := [3]int{0, n.(int), n.(int)}, n.(int)
	if isList {
		bounds[2], most = cap(list), cap(list)
	} else if len(at) > 2 {
		return nil, errors.New("cannot 3-index slice a string")
	}
	for i, a := range at {
		if bounds[i], err = position(a, most); err != nil {
			return nil, err
		}
	}
	if bounds[0] > bounds[1] || bounds[1] > bounds[2] {
		return nil, fmt.Errorf("slice bounds out of order: %v", bounds)
	}
	if isList {
		return list[bounds[0]:bounds[1]:bounds[2]], nil
	}
	return of.(string)[bounds[0]:bounds[1]], nil
}

// position reads an index between zero and most.
func position(value any, most int) (int, error) {
	var i int
	switch v := value.(type) {
	case int:
		i = v
	case byte:
		i = int(v)
	default:
		return 0, fmt.Errorf("cannot index with type %T", value)
	}
	if i < 0 || i > most {
		return 0, fmt.Errorf("index out of range: %d", i)
	}
	return i, nil
}
