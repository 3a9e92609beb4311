// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"
)

// parseHCL reads HCL 1, the version that Consul's files are in.
func parseHCL(file string, data []byte) (element, error) {
	tree, err := parser.Parse(data)
	if err != nil {
		if at, ok := errors.AsType[*parser.PosError](err); ok {
			return element{}, &fileError{file, at.Pos.Line, "HCL: " + at.Err.Error()}
		}
		return element{}, &fileError{file, 1, "HCL: " + err.Error()}
	}
	list, ok := tree.Node.(*ast.ObjectList)
	if !ok {
		return element{}, &fileError{file, 1, "HCL: not a list of keys"}
	}
	h := hclReader{file: file}
	return h.object(list, 1, 0)
}

type hclReader struct{ file string }

func (h hclReader) fail(line int, text string) error { return &fileError{h.file, line, "HCL: " + text} }

func (h hclReader) object(list *ast.ObjectList, line, depth int) (element, error) {
	e := element{line: line, kind: objectKind}
	for _, item := range list.Items {
		if len(item.Keys) == 0 {
			return e, h.fail(item.Pos().Line, "a value without a key")
		}
		value, err := h.value(item.Val, depth+1)
		if err != nil {
			return e, err
		}
		// a "b" { … } is the same as a { b { … } }.
		for i, key := range slices.Backward(item.Keys) {
			at := key.Token
			name, ok := scalarOf(at).(string)
			if !ok {
				return e, h.fail(at.Pos.Line, "a key that is no text: "+at.Text)
			}
			m := member{name, at.Pos.Line, value}
			if i == 0 {
				e.members = append(e.members, m)
				break
			}
			value = element{line: at.Pos.Line, kind: objectKind, members: []member{m}}
		}
	}
	return e, nil
}

func (h hclReader) value(n ast.Node, depth int) (element, error) {
	line := n.Pos().Line
	if depth > maxDepth {
		return element{}, h.fail(line, fmt.Sprintf("nested more than %d deep", maxDepth))
	}
	switch v := n.(type) {
	case *ast.ObjectType:
		return h.object(v.List, line, depth)
	case *ast.ListType:
		e := element{line: line, kind: listKind}
		for _, n := range v.List {
			value, err := h.value(n, depth+1)
			if err != nil {
				return e, err
			}
			e.list = append(e.list, value)
		}
		return e, nil
	case *ast.LiteralType:
		scalar := scalarOf(v.Token)
		if scalar == nil {
			return element{}, h.fail(line, "cannot read "+v.Token.Text)
		}
		return element{line: line, scalar: scalar}, nil
	default:
		return element{}, h.fail(line, fmt.Sprintf("a value of an unknown form, %T", n))
	}
}

// scalarOf gives a token's value, nil if it has none: the parser lets pass some
// texts that the token then panics at, such as a number that is too large.
func scalarOf(t token.Token) (value any) {
	defer func() {
		if recover() != nil {
			value = nil
		}
	}()
	return t.Value()
}
