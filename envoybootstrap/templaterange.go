// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"errors"
	"text/template/parse"
)

// walkRange executes the body for each element, or the else list if there is none. As in text/template a break in the
// else list ends this range, not the one around it.
func (f *frame) walkRange(dot any, n *parse.RangeNode) error {
	defer f.leave(len(f.vars))
	over, err := f.pipeline(dot, n.Pipe)
	if err != nil {
		return err
	}
	rounds := 0
	round := func(index, element any) error {
		rounds++
		return f.walkRound(n, index, element)
	}
	switch v := over.(type) {
	case nil:
	case []string:
		for i := 0; i < len(v) && err == nil; i++ {
			err = round(i, v[i])
		}
	case int, byte:
		err = f.count(n, over, round)
	default:
		return f.fail(n, "range can't iterate over a value of type %T", over)
	}
	if err == nil && rounds == 0 {
		err = f.walkElse(dot, &n.BranchNode)
	}
	if errors.Is(err, errBreak) {
		return nil
	}
	return err
}

// count goes from zero to a number, whose type the elements have. There is no index besides them.
func (f *frame) count(n *parse.RangeNode, to any, round func(index, element any) error) error {
	if len(n.Pipe.Decl) > 1 {
		return f.fail(n, "can't use a number to iterate over more than one variable")
	}
	var err error
	switch end := to.(type) {
	case int:
		for i := 0; i < end && err == nil; i++ {
			err = round(nil, i)
		}
	case byte:
		for i := byte(0); i < end && err == nil; i++ {
			err = round(nil, i)
		}
	}
	return err
}

// walkRound executes the body for one element.
func (f *frame) walkRound(n *parse.RangeNode, index, element any) error {
	defer f.leave(len(f.vars))
	values := []any{index, element}
	decl := n.Pipe.Decl
	for i, value := range values[len(values)-len(decl):] {
		f.lookup(decl[i].Ident[0]).value = value
	}
	err := f.walk(element, n.List)
	if errors.Is(err, errContinue) {
		return nil
	}
	return err
}
