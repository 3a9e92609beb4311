// SPDX-License-Identifier: MPL-2.0

package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Report is a whole run.
type Report struct {
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Machine  Machine   `json:"machine"`
	Quick    bool      `json:"quick"`
	Binaries []Binary  `json:"binaries"` // one or two
	Rows     []Row     `json:"measures"`
}

// Machine is where it was measured.
type Machine struct {
	CPUs      int    `json:"cpus"`
	CPU       string `json:"cpu"`
	MemoryMiB int    `json:"memory_mib"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"` // that of the benchmark's own ends
	// Others is what others used meanwhile; nil: it is not known.
	Others *Others `json:"others,omitempty"`
}

// Others are the CPUs that the benchmark did not have: 0.5 is half of one, all the time.
type Others struct {
	Programs   float64 `json:"programs"`
	Hypervisor float64 `json:"hypervisor"` // which had other machines to run
}

// tolerable is the part of the machine's CPUs that others may use before the table says so in bold.
const tolerable = 0.05

// Binary is what was measured.
type Binary struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// Row is one measure of all binaries.
type Row struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Unit   string `json:"unit"`
	Digits int    `json:"-"` // after the point, in the table
	// Limit is what is promised of the first binary; nil: nothing.
	Limit *Limit `json:"limit,omitempty"`
	// Cells are in the order of the binaries.
	Cells []Cell `json:"results"`
	// Ratio is that of the first binary to the second, of pairs that were measured
	// together; nil if there is none.
	Ratio *Figure `json:"ratio,omitempty"`
}

// Cell is a measure of one binary: a figure, or the reason why there is none, or
// both if only some of the rounds succeeded.
type Cell struct {
	Figure *Figure `json:"figure,omitempty"`
	Reason string  `json:"reason,omitempty"`
}

// Limit is what a median may be.
type Limit struct {
	Value   float64 `json:"value"`
	AtLeast bool    `json:"at_least"` // else at most
}

// AtMost is an upper limit.
func AtMost(v float64) *Limit { return &Limit{Value: v} }

// AtLeast is a lower limit.
func AtLeast(v float64) *Limit { return &Limit{Value: v, AtLeast: true} }

func (l Limit) holds(v float64) bool {
	if l.AtLeast {
		return v >= l.Value
	}
	return v <= l.Value
}

// String is "≥ 0.5" or "≤ 12".
func (l Limit) String() string {
	sign := "≤"
	if l.AtLeast {
		sign = "≥"
	}
	return sign + " " + strconv.FormatFloat(l.Value, 'f', -1, 64)
}

// Broken says which promises the first binary does not keep, and which of its
// measures there is no figure of.
func (r *Report) Broken() []string {
	var broken []string
	for _, row := range r.Rows {
		cell := row.Cells[0]
		switch {
		case cell.Reason != "":
			broken = append(broken, fmt.Sprintf("%s: %s", row.Title, cell.Reason))
		case row.Limit != nil && !row.Limit.holds(cell.Figure.Median):
			broken = append(broken, fmt.Sprintf("%s: %s %s, promised is %s",
				row.Title, format(cell.Figure.Median, row.Digits), row.Unit, row.Limit))
		}
	}
	return broken
}

// WriteJSON writes the report as one JSON document.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
