// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"strings"
	"text/template/parse"
)

// input is what a command's first word is given: the words after it, and the value of the command before it.
type input struct {
	args  []parse.Node
	final any // absent{} in the first command of a pipeline
}

// absent stands where there is no value, as nil is one.
type absent struct{}

func (in input) count() int {
	if in.final == any(absent{}) {
		return len(in.args)
	}
	return len(in.args) + 1
}

// pipeline gives the value of the last command, which the pipeline's variables take. No pipeline gives nil.
func (f *frame) pipeline(dot any, pipe *parse.PipeNode) (any, error) {
	if pipe == nil {
		return nil, nil
	}
	var value any = absent{}
	for _, cmd := range pipe.Cmds {
		var err error
		if value, err = f.command(dot, cmd, value); err != nil {
			return nil, err
		}
	}
	for _, decl := range pipe.Decl {
		name := decl.Ident[0]
		if !pipe.IsAssign {
			f.vars = append(f.vars, variable{name, value})
			continue
		}
		to := f.lookup(name)
		if to == nil {
			return nil, f.fail(decl, "undefined variable: %s", name)
		}
		to.value = value
	}
	return value, nil
}

// command calls a function, or gives an operand, which takes no input.
func (f *frame) command(dot any, cmd *parse.CommandNode, final any) (any, error) {
	if err := f.spend(cmd, 1); err != nil {
		return nil, err
	}
	first, in := cmd.Args[0], input{cmd.Args[1:], final}
	switch n := first.(type) {
	case *parse.IdentifierNode:
		return f.call(dot, n, in)
	case *parse.NilNode:
		return nil, f.fail(n, "nil is not a command")
	}
	if in.count() > 0 {
		return nil, f.fail(first, "can't give argument to non-function %s", first)
	}
	return f.operand(dot, first)
}

// operand evaluates a word, be it a command or an argument.
func (f *frame) operand(dot any, node parse.Node) (any, error) {
	switch n := node.(type) {
	case *parse.DotNode:
		return dot, nil
	case *parse.NilNode:
		return nil, nil
	case *parse.BoolNode:
		return n.True, nil
	case *parse.StringNode:
		return n.Text, nil
	case *parse.NumberNode:
		return f.number(n)
	case *parse.FieldNode:
		return f.fields(n, dot, n.Ident)
	case *parse.VariableNode:
		v := f.lookup(n.Ident[0])
		if v == nil {
			return nil, f.fail(n, "undefined variable: %s", n.Ident[0])
		}
		return f.fields(n, v.value, n.Ident[1:])
	case *parse.ChainNode:
		of, err := f.operand(dot, n.Node)
		if err != nil {
			return nil, err
		}
		return f.fields(n, of, n.Field)
	case *parse.PipeNode:
		return f.pipeline(dot, n)
	case *parse.IdentifierNode:
		return f.call(dot, n, input{final: absent{}})
	}
	return nil, f.fail(node, "can't evaluate %s", node)
}

// fields follows names from a value. Those of nil are nil.
func (f *frame) fields(at parse.Node, of any, names []string) (any, error) {
	for _, name := range names {
		if of == nil {
			return nil, nil
		}
		value, ok := templateField(of, name)
		if !ok {
			return nil, f.fail(at, "can't evaluate field %s in type %T", name, of)
		}
		of = value
	}
	return of, nil
}

// number gives a constant the type that Go would give it.
func (f *frame) number(n *parse.NumberNode) (any, error) {
	isRune := strings.HasPrefix(n.Text, "'")
	isHex := strings.HasPrefix(strings.ToLower(n.Text), "0x") && !strings.ContainsAny(n.Text, "pP")
	switch {
	case n.IsComplex:
		return n.Complex128, nil
	case n.IsFloat && !isRune && !isHex && strings.ContainsAny(n.Text, ".eEpP"):
		return n.Float64, nil
	case n.IsInt && int64(int(n.Int64)) == n.Int64:
		return int(n.Int64), nil
	}
	return nil, f.fail(n, "%s overflows int", n.Text)
}

// call evaluates the arguments and calls a function that the parser has found to exist.
func (f *frame) call(dot any, id *parse.IdentifierNode, in input) (any, error) {
	fn := templateFuncs[id.Ident]
	if n := in.count(); n < fn.min || n > fn.max {
		return nil, f.fail(id, "wrong number of args for %s: %d", id.Ident, n)
	}
	if fn.call == nil {
		return f.shortCircuit(dot, id, in)
	}
	args := make([]any, 0, in.count())
	for _, node := range in.args {
		value, err := f.operand(dot, node)
		if err != nil {
			return nil, err
		}
		args = append(args, value)
	}
	if len(args) < in.count() {
		args = append(args, in.final)
	}
	if err := f.spendText(id, args...); err != nil {
		return nil, err
	}
	value, err := fn.call(args)
	if err != nil {
		return nil, f.fail(id, "error calling %s: %w", id.Ident, err)
	}
	return value, f.spendText(id, value)
}

// shortCircuit gives the first argument that decides an "and" or "or", and evaluates none after it; else the last one.
func (f *frame) shortCircuit(dot any, id *parse.IdentifierNode, in input) (any, error) {
	var value any
	for _, node := range in.args {
		var err error
		if value, err = f.operand(dot, node); err != nil {
			return nil, err
		}
		if truth(value) == (id.Ident == "or") {
			return value, nil
		}
	}
	if in.count() > len(in.args) {
		value = in.final
	}
	return value, nil
}

// spendText counts the work that long texts make, and refuses those that are too long.
func (f *frame) spendText(at parse.Node, values ...any) error {
	const bytesPerStep = 64
	size := 0
	for _, value := range values {
		switch v := value.(type) {
		case string:
			size += len(v)
		case []string:
			for _, text := range v {
				size += len(text)
			}
		}
	}
	if size > maxTemplateOutput {
		return f.fail(at, "a text has more than %d bytes", maxTemplateOutput)
	}
	return f.spend(at, 1+size/bytesPerStep)
}
