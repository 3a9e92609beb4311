// SPDX-License-Identifier: MPL-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Problem is one reason why a configuration is refused.
type Problem struct {
	// Setting is the flag name of the setting, without dashes. It is empty if
	// the problem belongs to none, such as a syntax error in the file.
	Setting string
	// Source says where the fault is: "flag -x", "environment DP_X",
	// "config file PATH key a.b" or "default of -x".
	Source string
	// Value is what was given; it is empty if that is a secret or unknown.
	Value string
	// Reason says what is wrong and what is allowed.
	Reason string
}

// String returns the problem as one line.
func (p Problem) String() string {
	if p.Value == "" {
		return p.Source + ": " + p.Reason
	}
	return fmt.Sprintf("%s: %s: %s", p.Source, quote(p.Value), p.Reason)
}

// Error is everything that is wrong with a configuration. There is at least one
// problem in it.
type Error struct {
	Problems []Problem
	// HealthCheck tells that -check-proxy-health was given, whatever its value.
	HealthCheck bool
}

// Error returns one line for one problem, else a line each.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "invalid configuration: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "invalid configuration: %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  - " + p.String())
	}
	return b.String()
}

// quote makes a value fit for one line of a terminal, whatever is in it.
func quote(s string) string {
	const limit = 120
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "…"
	}
	return strconv.Quote(s)
}
