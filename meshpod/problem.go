// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Problem is something wrong with one annotation, label or field of a pod.
type Problem struct {
	// Name is the annotation's or label's full name, or the path of a field.
	Name string
	// Value is what it says; empty if what is missing is the problem.
	Value string
	// Reason says what is wrong and what is allowed.
	Reason string
}

// maxShownValue bounds the values in messages, in bytes.
const maxShownValue = 120

// String is one line: the name, the value and the reason. A long value is cut.
func (p Problem) String() string {
	if p.Value == "" {
		return p.Name + ": " + p.Reason
	}
	return fmt.Sprintf("%s: %q %s", p.Name, shorten(p.Value), p.Reason)
}

func shorten(s string) string {
	if len(s) <= maxShownValue {
		return s
	}
	cut := maxShownValue
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Problems are all that is wrong with a pod.
type Problems struct {
	// Errors mean that the pod must not run as it is.
	Errors []Problem
	// Warnings are for people: what has no effect, or may not be meant.
	Warnings []Problem
}

// Err is nil if there is no error, else one error of all of them.
func (p Problems) Err() error {
	var errs []error
	for _, e := range p.Errors {
		errs = append(errs, errors.New(e.String()))
	}
	return errors.Join(errs...)
}

// Errorf adds an error.
func (p *Problems) Errorf(name, value, format string, args ...any) {
	p.Errors = append(p.Errors, Problem{Name: name, Value: value, Reason: fmt.Sprintf(format, args...)})
}

// Warnf adds a warning.
func (p *Problems) Warnf(name, value, format string, args ...any) {
	p.Warnings = append(p.Warnings, Problem{Name: name, Value: value, Reason: fmt.Sprintf(format, args...)})
}
