// SPDX-License-Identifier: MPL-2.0

package config

import (
	"fmt"
	"strings"
)

// The lines between which a document has what [Markdown] returns.
const (
	MarkdownBegin = "<!-- settings:begin -->"
	MarkdownEnd   = "<!-- settings:end -->"
)

// Markdown returns the settings as tables, one per heading, for the README and
// the reference. A test keeps the documents equal to it.
func Markdown() string { return markdown(Settings()) }

func markdown(table []Setting) string {
	var b strings.Builder
	group := ""
	for _, s := range table {
		if s.Group != group {
			if group != "" {
				b.WriteString("\n")
			}
			group = s.Group
			fmt.Fprintf(&b, "**%s**\n\n", group)
			b.WriteString("| flag | environment | JSON key | default | meaning |\n|---|---|---|---|---|\n")
		}
		env := code(s.Env)
		if s.Numbered {
			env += ", `…1` to `…9`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code("-"+s.Flag), env, code(s.Key), code(s.Default), cell(s.Help))
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return "–"
	}
	return "`" + cell(s) + "`"
}

// cell keeps a text from ending its cell of the table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
