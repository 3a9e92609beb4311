// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"podplane/integration/bench/report"
)

// roundLimit bounds one round of one binary, whatever it waits for.
const roundLimit = 2 * time.Minute

// failures is after how many failed rounds a scenario is given up for a binary.
const failures = 2

// bench is a run.
type bench struct {
	binaries []binary
	scale    scale
	quick    bool
	rounds   int       // of each scenario; 0: its own number
	progress io.Writer // a line for each round
}

// choose picks scenarios by their IDs, in their own order; all for none.
func choose(all []scenario, only string) ([]scenario, error) {
	if only == "" {
		return all, nil
	}
	wanted := strings.Split(only, ",")
	var chosen []scenario
	for _, s := range all {
		if i := slices.Index(wanted, s.id); i >= 0 {
			wanted = slices.Delete(wanted, i, i+1)
			chosen = append(chosen, s)
		}
	}
	if len(wanted) > 0 {
		var ids []string
		for _, s := range all {
			ids = append(ids, s.id)
		}
		return nil, fmt.Errorf("no scenario %q: there are %s", strings.Join(wanted, ","), strings.Join(ids, ", "))
	}
	return chosen, nil
}

// run carries out the scenarios one after the other. At the end of ctx what is
// left has that for a reason.
func (b *bench) run(ctx context.Context, chosen []scenario) *report.Report {
	r := &report.Report{Started: time.Now(), Machine: inspectMachine(), Quick: b.quick}
	for _, bin := range b.binaries {
		r.Binaries = append(r.Binaries, bin.Binary)
	}
	before, err := readCPUUse()
	for _, s := range chosen {
		r.Rows = append(r.Rows, rows(s, b.rehearse(ctx, s))...)
	}
	after, errAfter := readCPUUse()
	if err == nil && errAfter == nil {
		r.Machine.Others = others(before, after)
	}
	r.Ended = time.Now()
	return r
}

// outcome is what a scenario gave for one binary.
type outcome struct {
	rounds []values // nil entries for rounds that gave nothing
	failed int
	reason string // of the last failure
}

// rehearse runs the rounds of a scenario: one binary and then the other, and the
// next time the other way round, so that what else the machine does meets both.
func (b *bench) rehearse(ctx context.Context, s scenario) []*outcome {
	outcomes := make([]*outcome, len(b.binaries))
	for i := range outcomes {
		outcomes[i] = &outcome{}
	}
	rounds := s.rounds
	if b.quick {
		rounds = 1
	}
	if b.rounds > 0 && s.rounds > 1 {
		rounds = b.rounds
	}
	for round := range rounds {
		order := make([]int, len(b.binaries))
		for i := range order {
			order[i] = i
		}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			b.round(ctx, s, i, outcomes[i])
			fmt.Fprintf(b.progress, "%-8s %2d/%d  %-20s %s\n", s.id, round+1, rounds, b.binaries[i].Name, outcomes[i].last(s))
		}
	}
	return outcomes
}

// round runs a scenario once for one binary.
func (b *bench) round(ctx context.Context, s scenario, i int, o *outcome) {
	if o.failed >= failures {
		o.rounds = append(o.rounds, nil)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	if ctx.Err() != nil {
		o.failed, o.reason = failures, "the time was up"
		o.rounds = append(o.rounds, nil)
		return
	}
	v, err := s.run(ctx, b.binaries[i], b.scale)
	if err != nil {
		o.failed++
		o.reason = line(err.Error())
		for _, m := range s.measures { // a value beside an error may be a zero that nobody measured
			if v[m.id] == 0 {
				delete(v, m.id)
			}
		}
	}
	o.rounds = append(o.rounds, v)
}

// maxReason is how long a reason in the table may be, in bytes.
const maxReason = 200

// line makes one short line of a text.
func line(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// last tells what the last round gave.
func (o *outcome) last(s scenario) string {
	v := o.rounds[len(o.rounds)-1]
	var words []string
	for _, m := range s.measures {
		if value, ok := v[m.id]; ok {
			words = append(words, fmt.Sprintf("%s=%.4g", m.id, value))
		}
	}
	if len(words) < len(s.measures) && o.reason != "" {
		words = append(words, "FAILED: "+o.reason)
	}
	return strings.Join(words, " ")
}

// rows makes the lines of a scenario's measures.
func rows(s scenario, outcomes []*outcome) []report.Row {
	var all []report.Row
	for _, m := range s.measures {
		row := report.Row{ID: m.id, Title: m.title, Unit: m.unit, Digits: m.digits, Limit: m.limit}
		for _, o := range outcomes {
			var samples []float64
			for _, v := range o.rounds {
				if value, ok := v[m.id]; ok {
					samples = append(samples, value)
				}
			}
			cell := report.Cell{Figure: report.Summarise(samples)}
			if len(samples) < len(o.rounds) {
				cell.Reason = fmt.Sprintf("%d of %d rounds gave nothing: %s", len(o.rounds)-len(samples), len(o.rounds), o.reason)
				if cell.Figure == nil {
					cell.Reason = o.reason
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		if len(outcomes) == 2 {
			row.Ratio = report.Ratios(pairs(m.id, outcomes[0].rounds, outcomes[1].rounds))
		}
		all = append(all, row)
	}
	return all
}

// pairs are the rounds in which both binaries gave a value.
func pairs(id string, first, second []values) [][2]float64 {
	var all [][2]float64
	for i := range min(len(first), len(second)) {
		a, okA := first[i][id]
		b, okB := second[i][id]
		if okA && okB {
			all = append(all, [2]float64{a, b})
		}
	}
	return all
}
