// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"bytes"
	"errors"
	"fmt"
	"text/template/parse"
)

// Bounds of a template's run, each far beyond any bootstrap. They end templates that repeat or recurse without one.
const (
	// maxTemplateOutput bounds the output, and every text that a function of a template is given or gives, in bytes.
	maxTemplateOutput = 16 << 20
	// maxTemplateSteps bounds the nodes that are executed. Long texts count as several.
	maxTemplateSteps = 10_000_000
	// maxTemplateDepth bounds templates that invoke templates.
	maxTemplateDepth = 1000
)

// Not failures: they unwind to the loop that they end, or whose next round they start.
var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// execution is one run of a template with the language of text/template, of which only the parser is used: its executor
// looks methods up by name, and then the linker must keep every exported method of the whole binary.
//
// Values are nil, bool, int, float64, complex128, string, byte (a text's element), []string, GRPC and TemplateArgs.
// Errors name types and never values, since a value may be the secret.
type execution struct {
	trees map[string]*parse.Tree
	out   limitedBuffer
	steps int
}

// frame is the execution of one tree. Templates that it invokes have frames of their own, so they inherit no variables.
type frame struct {
	*execution
	tree  *parse.Tree
	vars  []variable // innermost last
	depth int
}

type variable struct {
	name  string
	value any
}

// executeTemplate gives the template's output for the arguments.
func executeTemplate(text string, args TemplateArgs) (string, error) {
	const name = "bootstrap"
	known := make(map[string]any, len(templateFuncs))
	for ident := range templateFuncs {
		known[ident] = true
	}
	trees, err := parse.Parse(name, text, "", "", known)
	if err != nil {
		return "", err
	}
	e := &execution{trees: trees}
	if err := e.run(trees[name], args, 0); err != nil {
		return "", err
	}
	return e.out.String(), nil
}

func (e *execution) run(tree *parse.Tree, dot any, depth int) error {
	f := &frame{execution: e, tree: tree, vars: []variable{{"$", dot}}, depth: depth}
	return f.walk(dot, tree.Root)
}

// walk executes a node and writes its output.
func (f *frame) walk(dot any, node parse.Node) error {
	if err := f.spend(node, 1); err != nil {
		return err
	}
	switch n := node.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			if err := f.walk(dot, child); err != nil {
				return err
			}
		}
		return nil
	case *parse.TextNode:
		_, err := f.out.Write(n.Text)
		return err
	case *parse.ActionNode:
		return f.walkAction(dot, n)
	case *parse.IfNode:
		return f.walkBranch(dot, &n.BranchNode)
	case *parse.WithNode:
		return f.walkBranch(dot, &n.BranchNode)
	case *parse.RangeNode:
		return f.walkRange(dot, n)
	case *parse.TemplateNode:
		return f.walkTemplate(dot, n)
	case *parse.BreakNode:
		return errBreak
	case *parse.ContinueNode:
		return errContinue
	}
	return f.fail(node, "unknown node")
}

// walkAction prints a pipeline's value unless it declares variables. Those live until the end of the enclosing block.
func (f *frame) walkAction(dot any, n *parse.ActionNode) error {
	value, err := f.pipeline(dot, n.Pipe)
	if err != nil || len(n.Pipe.Decl) > 0 {
		return err
	}
	_, err = fmt.Fprint(&f.out, printable(value))
	return err
}

// walkBranch executes an if, or a with, which besides moves the dot.
func (f *frame) walkBranch(dot any, n *parse.BranchNode) error {
	defer f.leave(len(f.vars))
	value, err := f.pipeline(dot, n.Pipe)
	switch {
	case err != nil:
		return err
	case !truth(value):
		return f.walkElse(dot, n)
	case n.NodeType == parse.NodeWith:
		return f.walk(value, n.List)
	}
	return f.walk(dot, n.List)
}

func (f *frame) walkElse(dot any, n *parse.BranchNode) error {
	if n.ElseList == nil {
		return nil
	}
	return f.walk(dot, n.ElseList)
}

// walkTemplate invokes another template. Without an argument its dot is nil.
func (f *frame) walkTemplate(dot any, n *parse.TemplateNode) error {
	tree := f.trees[n.Name]
	if tree == nil {
		return f.fail(n, "template %q not defined", n.Name)
	}
	if f.depth == maxTemplateDepth {
		return f.fail(n, "exceeded maximum template depth (%d)", maxTemplateDepth)
	}
	argument, err := f.pipeline(dot, n.Pipe)
	if err != nil {
		return err
	}
	return f.run(tree, argument, f.depth+1)
}

// leave forgets the variables that were declared since there were n.
func (f *frame) leave(n int) { f.vars = f.vars[:n] }

// lookup gives the innermost variable of this name; nil if there is none.
func (f *frame) lookup(name string) *variable {
	for i := len(f.vars) - 1; i >= 0; i-- {
		if f.vars[i].name == name {
			return &f.vars[i]
		}
	}
	return nil
}

// spend counts n steps.
func (f *frame) spend(at parse.Node, n int) error {
	f.steps += n
	if f.steps > maxTemplateSteps {
		where, _ := f.tree.ErrorContext(at)
		return fmt.Errorf("template: %s: more than %d steps", where, maxTemplateSteps)
	}
	return nil
}

// fail gives an error that tells the place, in the words of text/template.
func (f *frame) fail(at parse.Node, format string, args ...any) error {
	where, what := f.tree.ErrorContext(at)
	return fmt.Errorf("template: %s: executing %q at <%s>: %w", where, f.tree.Name, what, fmt.Errorf(format, args...))
}

// limitedBuffer refuses to grow beyond maxTemplateOutput.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTemplateOutput {
		return 0, fmt.Errorf("output has more than %d bytes", maxTemplateOutput)
	}
	return b.Buffer.Write(p)
}
