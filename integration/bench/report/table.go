// SPDX-License-Identifier: MPL-2.0

package report

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Table renders the report as Markdown that is also aligned for reading.
func (r *Report) Table() string {
	var b strings.Builder
	r.writeHead(&b)
	lines := [][]string{{"measure", "unit", "promised"}}
	for _, bin := range r.Binaries {
		lines[0] = append(lines[0], bin.Name)
	}
	pairs := len(r.Binaries) == 2
	if pairs {
		lines[0] = append(lines[0], "ratio")
	}
	var notes []string
	for _, row := range r.Rows {
		line := []string{row.Title, row.Unit, ""}
		if row.Limit != nil {
			line[2] = row.Limit.String()
		}
		for i, cell := range row.Cells {
			text := cell.text(row.Digits)
			if cell.Reason != "" {
				notes = append(notes, fmt.Sprintf("[%d] %s, %s: %s", len(notes)+1, row.Title, r.Binaries[i].Name, cell.Reason))
				text += fmt.Sprintf(" [%d]", len(notes))
			}
			line = append(line, text)
		}
		if pairs {
			line = append(line, Cell{Figure: row.Ratio}.text(ratioDigits))
		}
		lines = append(lines, line)
	}
	writeAligned(&b, lines)
	if len(notes) > 0 {
		b.WriteByte('\n')
	}
	for _, note := range notes {
		b.WriteString(note + "  \n")
	}
	return b.String()
}

const ratioDigits = 2

func (r *Report) writeHead(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "%s, in %s, on %d CPUs (%s), %d MiB, Linux %s.\n", r.Started.UTC().Format("2006-01-02 15:04 UTC"),
		r.Ended.Sub(r.Started).Round(time.Second), m.CPUs, m.CPU, m.MemoryMiB, m.Kernel)
	if o := m.Others; o == nil {
		b.WriteString("What others used meanwhile is not known.\n")
	} else {
		fmt.Fprintf(b, "Other programs used %.2f CPUs meanwhile, the hypervisor %.2f", o.Programs, o.Hypervisor)
		if o.Programs+o.Hypervisor > tolerable*float64(m.CPUs) {
			b.WriteString("; **the machine had other work**")
		}
		b.WriteString(".\n")
	}
	if r.Quick {
		b.WriteString("**A quick run: one round of little load. It shows that all works, and no more.**\n")
	}
	b.WriteByte('\n')
	for _, bin := range r.Binaries {
		fmt.Fprintf(b, "- %s: %s, SHA-256 %.12s…\n", bin.Name, bin.Version, bin.SHA256)
	}
	b.WriteByte('\n')
}

// text is "12.5 (11.0–14.2)", or a dash.
func (c Cell) text(digits int) string {
	if c.Figure == nil {
		return "–"
	}
	f := c.Figure
	if len(f.Samples) == 1 {
		return format(f.Median, digits)
	}
	return fmt.Sprintf("%s (%s–%s)", format(f.Median, digits), format(f.Min, digits), format(f.Max, digits))
}

func format(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// writeAligned writes a Markdown table. The first line is its head.
func writeAligned(b *strings.Builder, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text), 3)
		}
	}
	write := func(line []string) {
		for i, text := range line {
			b.WriteString("| " + text + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+1))
		}
		b.WriteString("|\n")
	}
	write(lines[0])
	for _, width := range widths {
		b.WriteString("|" + strings.Repeat("-", width+2))
	}
	b.WriteString("|\n")
	for _, line := range lines[1:] {
		write(line)
	}
}

// The table's place in a document.
const (
	beginMark = "<!-- bench:begin -->\n"
	endMark   = "<!-- bench:end -->\n"
)

// Insert replaces the table that a document keeps between its two marks.
func Insert(path, table string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(old, []byte(beginMark))
	_, after, ended := bytes.Cut(rest, []byte(endMark))
	if !found || !ended {
		return fmt.Errorf("%s has no place for the table: no %q before %q", path,
			strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	text := string(before) + beginMark + table + endMark + string(after)
	return os.WriteFile(path, []byte(text), 0o644)
}
