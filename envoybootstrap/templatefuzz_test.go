// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"strings"
	"testing"
)

// FuzzTemplateAsTextTemplate makes a template of each input, a byte a choice in the grammar, and runs it here and with
// text/template.
func FuzzTemplateAsTextTemplate(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x03\x01\x02\x04\x09\x05\x00\x01\x07\x02"))
	f.Add([]byte("\x05\x04\x01\x03\x02\x00\x07\x01\x01\x06\x02\x03"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		g := grammar{choices: choices}
		sameAsText(t, `{{ define "t" }}{{ . }}{{ end }}{{ $x := 1 }}`+g.list(3), diffArgs())
	})
}

// grammar derives a template. Without choices left it takes the first, which is no recursion.
type grammar struct{ choices []byte }

func (g *grammar) pick(from ...string) string { return from[g.choose(len(from))] }

func (g *grammar) choose(n int) int {
	if len(g.choices) == 0 {
		return 0
	}
	c := int(g.choices[0]) % n
	g.choices = g.choices[1:]
	return c
}

func (g *grammar) list(depth int) string {
	var out strings.Builder
	for range g.choose(4) + 1 {
		out.WriteString(g.node(depth))
	}
	return out.String()
}

func (g *grammar) node(depth int) string {
	kind := g.choose(10)
	if depth == 0 {
		kind %= 3
	}
	switch kind {
	case 1:
		return "{{ $x " + g.pick("=", ":=") + " " + g.pipe(depth) + " }}"
	case 2:
		return " text\n{{- /* no */ -}} "
	case 3, 4:
		return "{{ " + g.pick("if ", "with ") + g.pipe(depth) + " }}" + g.list(depth-1) + g.otherwise(depth) + "{{ end }}"
	case 5, 6:
		over := g.pick("", "$x := ", "$i, $x := ", "$x = ") + g.pick(".AdminAccessLogConfig", "3", "$x", g.pipe(depth))
		return "{{ range " + over + " }}" + g.list(depth-1) + g.pick("", "{{ break }}", "{{ continue }}") + g.otherwise(depth) + "{{ end }}"
	case 7:
		return `{{ template "t" ` + g.pick("", g.pipe(depth)) + " }}"
	}
	return "{{ " + g.pipe(depth) + " }}"
}

func (g *grammar) otherwise(depth int) string {
	return g.pick("", "{{ else }}"+g.list(depth-1))
}

func (g *grammar) pipe(depth int) string {
	out := g.command(depth)
	for range g.choose(3) {
		out += " | " + g.function()
	}
	return out
}

func (g *grammar) function() string {
	return g.pick("print", "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "println",
		`printf "%v"`, "js", "html", "urlquery")
}

func (g *grammar) command(depth int) string {
	if g.choose(2) == 0 {
		return g.word(depth)
	}
	out := g.function()
	for range g.choose(4) {
		out += " " + g.word(depth)
	}
	return out
}

func (g *grammar) word(depth int) string {
	if depth > 0 && g.choose(8) == 7 {
		return "(" + g.pipe(depth-1) + ")"
	}
	return g.pick(".", "$", "$x", "0", "1", "2.5", "'a'", "1i", `"text"`, `""`, "true", "nil", ".ProxyID", "$.ProxyCluster", ".GRPC",
		"$.AgentPort", "$.AgentTLS", "$.AdminAccessLogConfig", ".Nope")
}
