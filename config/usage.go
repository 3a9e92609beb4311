// SPDX-License-Identifier: MPL-2.0

package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

const usageHead = `Usage: podplane [flags] [-- Envoy's arguments]
       podplane wait|drain|quit|status|exec|loglevel [flags]

Podplane runs Envoy as the proxy of one pod or task in a Consul service mesh. With
a command it talks to the podplane that runs beside it: podplane COMMAND -help.

A setting can be given as a flag (-x or --x), in the environment, or under a key
of the JSON file that -config-file names. A flag wins over the environment, the
environment over the file, the file over the default. An empty variable counts
as unset. Switches take no value, or one after "=": -log-json=false.
`

// Usage writes the help: every setting under its heading.
func Usage(w io.Writer) error { return usage(w, usageHead, Settings()) }

func usage(w io.Writer, head string, table []Setting) error {
	out := bufio.NewWriter(w)
	_, _ = out.WriteString(head)
	group := ""
	for _, s := range table {
		if s.Group != group {
			group = s.Group
			_, _ = fmt.Fprintf(out, "\n%s:\n", group)
		}
		_, _ = fmt.Fprintf(out, "\n  %s\n", strings.TrimRight("-"+s.Flag+" "+s.kind(), " "))
		_, _ = out.WriteString(wrap(plain(s.Help)+s.defaultNote(), "      "))
		if s.Env != "" {
			_, _ = fmt.Fprintf(out, "      %s", s.envNote())
			if s.Key != "" {
				_, _ = fmt.Fprintf(out, ", key %s", s.Key)
			}
			_, _ = out.WriteString("\n")
		}
	}
	return out.Flush()
}

// defaultNote is the default as the end of the help text.
func (s Setting) defaultNote() string {
	if s.Default == "" || s.isSwitch() && s.Default == "false" {
		return ""
	}
	return " Default: " + s.Default + "."
}

func (s Setting) envNote() string {
	if s.Numbered {
		return s.Env + " and " + s.Env + "1 to 9"
	}
	return s.Env
}

// plain takes the Markdown out of a help text.
func plain(s string) string { return strings.ReplaceAll(s, "`", "") }

// wrap breaks text into lines of about 80 columns, each behind the indent.
func wrap(text, indent string) string {
	const width = 80
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}
