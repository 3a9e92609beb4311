// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"podplane/integration/bench/report"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	all := scenarios()
	tests := map[string]struct {
		only, want string
		fails      bool
	}{
		"all":          {want: "size start idle xds1k xds64k xds4m updates scrape job crash alone loss"},
		"in order":     {only: "loss,size", want: "size loss"},
		"none of that": {only: "size,speed", fails: true},
		"twice":        {only: "size,size", fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chosen, err := choose(all, tt.only)
			var ids []string
			for _, s := range chosen {
				ids = append(ids, s.id)
			}
			if (err != nil) != tt.fails || strings.Join(ids, " ") != tt.want {
				t.Errorf("%q, %v; want %q", ids, err, tt.want)
			}
		})
	}
}

// What is measured has one name and one place.
func TestMeasuresAreDistinct(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range scenarios() {
		for _, m := range s.measures {
			if seen[m.id] || m.title == "" {
				t.Errorf("%s of %s: used twice, or without a title", m.id, s.id)
			}
			seen[m.id] = true
		}
	}
}

// fixed is a scenario that gives what it is told.
func fixed(rounds int, run func(ctx context.Context, b binary, n int) (values, error)) scenario {
	calls := map[string]int{}
	return scenario{
		id: "fixed", rounds: rounds, measures: []measure{{id: "x", title: "x"}, {id: "y", title: "y"}},
		run: func(ctx context.Context, b binary, _ scale) (values, error) {
			calls[b.Name]++
			return run(ctx, b, calls[b.Name])
		},
	}
}

func two() *bench {
	return &bench{progress: io.Discard, binaries: []binary{
		{Binary: report.Binary{Name: "a"}}, {Binary: report.Binary{Name: "b"}},
	}}
}

func TestRoundsAlternate(t *testing.T) {
	t.Parallel()
	var order []string
	r := two().run(t.Context(), []scenario{fixed(4, func(_ context.Context, b binary, n int) (values, error) {
		order = append(order, b.Name)
		if b.Name == "b" {
			return values{"x": 10, "y": 1}, nil
		}
		return values{"x": float64(n), "y": 1}, nil
	})})
	if got := strings.Join(order, ""); got != "abbaabba" {
		t.Errorf("order %s", got)
	}
	x := r.Rows[0]
	if x.Cells[0].Figure.Median != 2.5 || x.Cells[1].Figure.Median != 10 || x.Ratio.Median != 0.25 {
		t.Errorf("medians %+v, %+v, ratio %+v", x.Cells[0].Figure, x.Cells[1].Figure, x.Ratio)
	}
	if len(r.Broken()) > 0 {
		t.Errorf("broken: %q", r.Broken())
	}
}

func TestRoundsThatFail(t *testing.T) {
	t.Parallel()
	calls := 0
	r := two().run(t.Context(), []scenario{fixed(5, func(_ context.Context, b binary, n int) (values, error) {
		switch {
		case b.Name == "b":
			calls++
			return values{"x": 3, "y": 0}, errors.New("no\ny")
		case n == 2:
			return nil, errors.New("a mishap")
		}
		return values{"x": 1, "y": 2}, nil
	})})
	if calls != failures {
		t.Errorf("what always fails was tried %d times, want %d", calls, failures)
	}
	mishap, partial, none := r.Rows[0].Cells[0], r.Rows[0].Cells[1], r.Rows[1].Cells[1]
	if len(mishap.Figure.Samples) != 4 || mishap.Reason != "1 of 5 rounds gave nothing: a mishap" {
		t.Errorf("one mishap: %+v", mishap)
	}
	if len(partial.Figure.Samples) != 2 || !strings.HasPrefix(partial.Reason, "3 of 5") {
		t.Errorf("what was measured before the failure: %+v", partial)
	}
	if none.Figure != nil || none.Reason != "no y" {
		t.Errorf("what was never measured: %+v", none)
	}
	if r.Rows[0].Ratio == nil || r.Rows[1].Ratio != nil {
		t.Errorf("ratios %+v and %+v; want one of the pairs that there are, and none", r.Rows[0].Ratio, r.Rows[1].Ratio)
	}
}

func TestTimeIsUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	s := fixed(3, func(context.Context, binary, int) (values, error) {
		calls++
		cancel()
		return values{"x": 1, "y": 1}, nil
	})
	r := two().run(ctx, []scenario{s})
	if calls != 1 || r.Rows[0].Cells[1].Reason != "the time was up" || r.Rows[0].Cells[0].Figure == nil {
		t.Errorf("%d rounds; %+v", calls, r.Rows[0].Cells)
	}
}

// TestOthers: what is not ours is others'.
func TestOthers(t *testing.T) {
	t.Parallel()
	busy, steal, err := parseStat("cpu  100 20 3 40000 500 6 7 80 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if busy != 1360*time.Millisecond || steal != 800*time.Millisecond || err != nil {
		t.Errorf("busy %s, steal %s, %v", busy, steal, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu a b c d e f g h"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
	now := time.Now()
	from := cpuUse{at: now, busy: 10 * time.Second, own: time.Second}
	for name, tt := range map[string]struct {
		to   cpuUse
		want *report.Others
	}{
		"all is ours": {cpuUse{at: now.Add(4 * time.Second), busy: 15 * time.Second, own: 6 * time.Second}, &report.Others{}},
		"some is others'": {
			cpuUse{at: now.Add(4 * time.Second), busy: 15 * time.Second, own: 2 * time.Second, steal: time.Second},
			&report.Others{Programs: 1, Hypervisor: 0.25},
		},
		"a little below zero": {cpuUse{at: now.Add(4 * time.Second), busy: 15 * time.Second, own: 6100 * time.Millisecond}, &report.Others{}},
		"no time":             {from, nil},
	} {
		got := others(from, tt.to)
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestOwnUse: what was used by an orphan that a child has left behind is ours, once it has been waited for. It is not
// parallel, so that there are no other children.
func TestOwnUse(t *testing.T) {
	if err := adopt(); err != nil {
		t.Fatal(err)
	}
	// The loop has an end of its own, if nobody else ends it.
	const work = `{ i=0; while [ $i -lt 20000000 ]; do i=$((i+1)); done; } >/dev/null 2>&1 & echo $!`
	out, err := exec.CommandContext(t.Context(), "sh", "-c", work).Output()
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	before, err := readCPUUse()
	if err != nil {
		t.Fatal(err)
	}
	const least = 200 * time.Millisecond
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for used := time.Duration(0); used < least; <-tick.C {
		if used, err = cpuTime(orphan); err != nil {
			t.Fatal(err)
		}
	}
	between, err := readCPUUse()
	if err != nil {
		t.Fatal(err)
	}
	awaitEnd(orphan, time.Millisecond) // kills it
	after, err := readCPUUse()
	if err != nil || after.own-between.own < least {
		t.Errorf("%+v, then %+v, then %+v, %v; the orphan has used more than %s", before, between, after, err, least)
	}
	if _, err := cpuTime(orphan); err == nil {
		t.Error("the orphan has not ended")
	}
	awaitEnd(orphan, time.Minute) // nobody: returns at once
}

// A run that had no time for everything says so, and leaves the last whole table in its place.
func TestPartOfARun(t *testing.T) {
	t.Parallel()
	doc := filepath.Join(t.TempDir(), "doc.md")
	const old = "<!-- bench:begin -->\nold\n<!-- bench:end -->\n"
	if err := os.WriteFile(doc, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for want, ctx := range map[string]context.Context{"-timeout": t.Context(), "interrupted": interrupted} {
		var out bytes.Buffer
		err := run(ctx, []string{"-bin", script(t, "exit 1"), "-only", "start", "-doc", doc, "-timeout", "1ns"}, &out, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(out.String(), "the time was up") {
			t.Errorf("%v, %s; want an error about %s, and dashes", err, out.String(), want)
		}
		if text, _ := os.ReadFile(doc); string(text) != old {
			t.Errorf("%s: the document has %s", want, text)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	if got := line(" a\n\tb  c "); got != "a b c" {
		t.Errorf("%q", got)
	}
	if got := line(strings.Repeat("é", maxReason)); len(got) > maxReason+4 || !strings.HasSuffix(got, "é…") {
		t.Errorf("%q", got)
	}
}

func TestLineCounter(t *testing.T) {
	t.Parallel()
	text := "# TYPE a counter\na 1\na{x=\"#\"} 2\n\nb 3\nb 4"
	for _, size := range []int{1, 3, len(text)} {
		var c lineCounter
		for part := range slices.Chunk([]byte(text), size) {
			_, _ = c.Write(part)
		}
		if c.series != 3 {
			t.Errorf("in parts of %d bytes: %d series, want 3 whole lines", size, c.series)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 32<<20)
	for range 3 {
		for i := range block {
			block[i]++
		}
	}
	after, err := cpuTime(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("work took %s of CPU time, %v", after-before, err)
	}
	resident, peak, err := memory(os.Getpid())
	if err != nil || resident < 32 || peak < resident {
		t.Errorf("resident %v MiB, peak %v MiB, %v; %d MiB are in use", resident, peak, err, len(block)>>20)
	}
	const nobody = 1 << 23 // above the highest that Linux gives
	if _, err := cpuTime(nobody); err == nil {
		t.Error("the CPU time of nobody is no error")
	}
	if _, _, err := memory(nobody); err == nil {
		t.Error("the memory of nobody is no error")
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown flag":     {[]string{"-fast"}, "-fast"},
		"stray argument":   {[]string{"podplane"}, "podplane"},
		"unknown scenario": {[]string{"-only", "speed"}, "speed"},
		"no binary":        {[]string{"-bin", "/nonexistent/podplane"}, "/nonexistent/podplane"},
		"no second binary": {[]string{"-bin", "/bin/sh", "-vs", "/nonexistent/other"}, "/nonexistent/other"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := run(t.Context(), tt.args, &out, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
				t.Errorf("%v, %q; want an error with %q", err, out.String(), tt.want)
			}
		})
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	jsonPath, doc := filepath.Join(dir, "figures.json"), filepath.Join(dir, "doc.md")
	if err := os.WriteFile(doc, []byte("a\n<!-- bench:begin -->\n<!-- bench:end -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := script(t, "echo a dataplane, v1")
	var out bytes.Buffer
	err := run(t.Context(), []string{"-bin", bin, "-vs", bin, "-only", "size", "-json", jsonPath, "-doc", doc, "-check"}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(doc)
	if !strings.Contains(out.String(), "| binary ") || !strings.Contains(string(text), out.String()) {
		t.Errorf("the document has %q and standard output %q", text, out.String())
	}
	var r report.Report
	content, _ := os.ReadFile(jsonPath)
	if err := json.Unmarshal(content, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Binaries) != 2 || r.Binaries[0].Name != "dataplane (bin)" || r.Binaries[1].Name != "dataplane (vs)" ||
		r.Binaries[0].Version != "a dataplane, v1" || r.Rows[0].Ratio.Median != 1 {
		t.Errorf("JSON: %s", content)
	}
	for name, args := range map[string][]string{
		"no folder for the figures": {"-json", filepath.Join(dir, "absent", "f")},
		"no document":               {"-doc", filepath.Join(dir, "absent.md")},
	} {
		if err := run(t.Context(), append([]string{"-bin", bin, "-only", "size"}, args...), io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
