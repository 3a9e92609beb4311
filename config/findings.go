// SPDX-License-Identifier: MPL-2.0

package config

import "fmt"

// isSet tells whether the setting has a value that is not empty, from anywhere
// but its default.
func (l *loader) isSet(flag string) bool {
	_, given := l.cfg.sources[flag]
	return given && l.byFlag[flag].bind(l.cfg).String() != ""
}

// refuse reports the value that the setting has now.
func (l *loader) refuse(flag, reason string) {
	s := l.byFlag[flag]
	source, given := l.cfg.sources[flag]
	if !given {
		source = "default of -" + flag
	}
	l.add(Problem{Setting: flag, Source: source, Value: s.bind(l.cfg).String(), Reason: reason})
	l.refused[flag] = true
}

// require reports the setting if it has no value, unless a bad one was reported.
func (l *loader) require(flag, because string) {
	if l.byFlag[flag].bind(l.cfg).String() != "" || l.refused[flag] {
		return
	}
	reason := "is required"
	if because != "" {
		reason += " " + because
	}
	l.add(Problem{Setting: flag, Source: "-" + flag + " (not set)", Reason: reason + ": set " + l.byFlag[flag].ways()})
}

// requireOne is require for settings of which one is enough.
func (l *loader) requireOne(flag, other, because string) {
	if !l.isSet(other) && !l.refused[other] {
		l.require(flag, "("+because+"; -"+other+" would do as well)")
	}
}

// allOrNone reports settings that are missing beside others that are set.
func (l *loader) allOrNone(flags ...string) {
	for _, flag := range flags {
		if l.isSet(flag) {
			for _, other := range flags {
				l.require(other, "because "+l.cfg.sources[flag]+" is set")
			}
			return
		}
	}
}

func (l *loader) warn(format string, args ...any) {
	l.cfg.Warnings = append(l.cfg.Warnings, fmt.Sprintf(format, args...))
}
