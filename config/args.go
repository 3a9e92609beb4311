// SPDX-License-Identifier: MPL-2.0

package config

import (
	"fmt"
	"strings"
)

// parseArgs reads a command line by the rules of Go's package flag: one dash or
// two, "-x=v" or "-x v", switches without a value or with "=". It is not that
// package because that one stops at the first mistake. What follows "--" goes
// to cfg.EnvoyArgs.
func (l *loader) parseArgs(args []string) []given {
	p := &argParser{loader: l, args: args}
	for p.next < len(p.args) {
		arg := p.args[p.next]
		p.next++
		switch {
		case arg == "--":
			l.cfg.EnvoyArgs = append([]string(nil), p.args[p.next:]...)
			return p.layer
		case len(arg) < 2 || arg[0] != '-':
			p.stray(arg)
		default:
			p.flag(strings.TrimPrefix(arg[1:], "-"))
		}
	}
	return p.layer
}

type argParser struct {
	*loader
	args  []string
	next  int // index of the argument to look at next
	layer []given
	// last is the setting of the flag before, if it was a known one.
	last Setting
	// afterUnknown tells that the flag before was an unknown one.
	afterUnknown bool
}

// flag takes one flag, without its dashes, and its value.
func (p *argParser) flag(arg string) {
	name, text, hasText := strings.Cut(arg, "=")
	s, known := p.byFlag[name]
	p.last, p.afterUnknown = s, !known
	switch {
	case !known:
		p.unknown(name, hasText)
		return
	case hasText:
	case s.isSwitch():
		text = "true"
	case p.next < len(p.args):
		text = p.args[p.next]
		p.next++
	default:
		p.add(Problem{Setting: s.Flag, Source: "flag -" + s.Flag, Reason: "needs a value: -" + s.Flag + "=" + strings.ToUpper(s.kind())})
		p.refused[s.target()] = true
		return
	}
	p.layer = append(p.layer, given{setting: s, source: "flag -" + s.Flag, text: text})
}

// unknown reports a flag that does not exist. Its value, which may well be a
// misspelled secret, is skipped and not shown, and neither is what hangs on to the
// name in a way that no name does, as in -static-token:SECRET.
func (p *argParser) unknown(name string, hasText bool) {
	if !hasText && p.next < len(p.args) && !strings.HasPrefix(p.args[p.next], "-") {
		p.next++
	}
	name = flagName(name)
	flags := make([]string, 0, len(p.table))
	for _, s := range p.table {
		flags = append(flags, s.Flag)
	}
	reason := "unknown flag; -help lists all"
	if near := closest(name, flags); near != "" {
		reason = "unknown flag; did you mean -" + near + "?"
	}
	p.add(Problem{Source: "flag -" + name, Reason: reason})
}

// flagName is the beginning of a text that can be a flag's name.
func flagName(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
	if end < 0 {
		return s
	}
	return s[:end]
}

// stray reports an argument that belongs to no flag. It is not shown where it may
// be a piece of a secret: after a flag that takes one, or that is unknown.
func (p *argParser) stray(arg string) {
	problem := Problem{Source: fmt.Sprintf("argument %d", p.next), Value: hidePasswords(arg), Reason: "belongs to no flag; arguments for Envoy go after --"}
	if p.last.Flag != "" && p.last.isSwitch() {
		problem.Reason = fmt.Sprintf("belongs to no flag; write -%s=%s if that is what you mean", p.last.Flag, oneLine(hidePasswords(arg)))
	}
	if p.afterUnknown || (p.last.Flag != "" && p.last.isSecret()) {
		problem.Value = ""
	}
	p.add(problem)
}
