// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// take takes the flag out of the arguments and gives its value, or fallback if it
// is not there.
func take(args []string, name, fallback string) (value string, rest []string, err error) {
	for at, arg := range args {
		flag, text, hasText := strings.Cut(arg, "=")
		if flag != "-"+name && flag != "--"+name {
			continue
		}
		end := at + 1
		if !hasText {
			if end == len(args) {
				return "", nil, fmt.Errorf("-%s needs a value", name)
			}
			text = args[end]
			end++
		}
		return text, slices.Concat(args[:at], args[end:]), nil
	}
	return fallback, args, nil
}

// positional takes the argument that is no flag's, at the beginning or at the end.
func positional(args []string, what string) (value string, rest []string, err error) {
	switch n := len(args); {
	case n > 0 && !strings.HasPrefix(args[0], "-"):
		return args[0], args[1:], nil
	case n > 0 && !strings.HasPrefix(args[n-1], "-"):
		return args[n-1], args[:n-1], nil
	default:
		return "", nil, fmt.Errorf("say which %s", what)
	}
}

// splitCommand separates the flags before -- from the command behind it.
func splitCommand(args []string) (flags, command []string, err error) {
	at := slices.Index(args, "--")
	if at < 0 || at+1 == len(args) {
		return nil, nil, errors.New("say what to run: podplane exec -- COMMAND ARGUMENTS…")
	}
	return args[:at], args[at+1:], nil
}
