// SPDX-License-Identifier: MPL-2.0

package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample is a report with everything that can be in one.
func sample() *Report {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &Report{
		Started: began, Ended: began.Add(5 * time.Minute),
		Machine: Machine{CPUs: 2, CPU: "a CPU", MemoryMiB: 4096, Kernel: "6.1.0", Go: "go1.26", Others: &Others{Programs: 0.09, Hypervisor: 0.02}},
		Binaries: []Binary{
			{Name: "one", Path: "/bin/one", Version: "one v1", SHA256: "0123456789abcdef"},
			{Name: "two", Path: "/bin/two", Version: "two v2", SHA256: "fedcba9876543210"},
		},
		Rows: []Row{
			{ID: "a", Title: "both have it", Unit: "ms", Digits: 1, Limit: AtMost(5), Ratio: Summarise([]float64{0.5, 0.25, 1}), Cells: []Cell{
				{Figure: Summarise([]float64{1, 2, 4})}, {Figure: Summarise([]float64{3, 4, 5})},
			}},
			{ID: "b", Title: "µ and a single one", Unit: "µs", Cells: []Cell{
				{Figure: Summarise([]float64{7})}, {Figure: Summarise([]float64{8})},
			}},
			{ID: "c", Title: "a share", Digits: 2, Limit: AtLeast(0.5), Cells: []Cell{
				{Figure: Summarise([]float64{0.25, 0.3, 0.2})}, {Reason: "it ended with exit code 1"},
			}},
			{ID: "d", Title: "not always", Unit: "ms", Cells: []Cell{
				{Figure: Summarise([]float64{7, 8}), Reason: "1 of 3 rounds gave nothing: no"}, {Reason: "the time was up"},
			}},
		},
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*Report){
		"two": func(*Report) {},
		"one": func(r *Report) {
			r.Binaries, r.Rows = r.Binaries[:1], []Row{{Title: "x", Unit: "s", Cells: r.Rows[0].Cells[:1]}}
		},
		"idle":    func(r *Report) { r.Machine.Others.Programs, r.Quick = 0.01, true },
		"unknown": func(r *Report) { r.Machine.Others = nil },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sample()
			change(r)
			got := r.Table()
			golden := filepath.Join("testdata", name+".golden.md")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestJSONHasEverything(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	want := sample()
	if err := want.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Report
	dec := json.NewDecoder(&b)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	for i := range want.Rows {
		want.Rows[i].Digits = 0 // of the table only
	}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	broken := sample().Broken()
	want := []string{"a share: 0.25", "not always: 1 of 3 rounds gave nothing"}
	if len(broken) != len(want) {
		t.Fatalf("broken: %q, want %q", broken, want)
	}
	for i := range want {
		if !strings.HasPrefix(broken[i], want[i]) {
			t.Errorf("broken: %q, want %q", broken[i], want[i])
		}
	}
}

func TestInsert(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before, after string
		fails         bool
	}{
		"replaces":      {before: "a\n" + beginMark + "old\n" + endMark + "b\n", after: "a\n" + beginMark + "new\n" + endMark + "b\n"},
		"from nothing":  {before: beginMark + endMark, after: beginMark + "new\n" + endMark},
		"no mark":       {before: "a\n", after: "a\n", fails: true},
		"no second one": {before: beginMark + "old\n", after: beginMark + "old\n", fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "doc.md")
			if err := os.WriteFile(path, []byte(tt.before), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Insert(path, "new\n")
			got, _ := os.ReadFile(path)
			if (err != nil) != tt.fails || string(got) != tt.after {
				t.Errorf("%v, %q; want %q", err, got, tt.after)
			}
		})
	}
	if Insert(filepath.Join(t.TempDir(), "absent"), "") == nil {
		t.Error("a document that is not there is no error")
	}
}
