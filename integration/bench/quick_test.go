// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podplane/integration/bench/report"
)

// sane has the bounds of each measure of podplane that cannot be right outside of
// them, however slow the machine is.
var sane = map[string][2]float64{
	"binary_size":         {5, 40},
	"start_to_live":       {1, 30_000},
	"idle_memory":         {4, 100},
	"updates_memory":      {4, 200},
	"scrape_time":         {1, 30_000},
	"scrape_raw":          {1, 30_000},
	"scrape_ratio":        {0.1, 100},
	"scrape_memory":       {1, 200},
	"job_end":             {0.1, 30_000},
	"crash_to_live":       {1, 30_000},
	"crash_alone_to_live": {1, 30_000},
	"loss_to_update":      {0.1, 30_000},
}

// saneXDS are the bounds for each size of messages. A latency that is added may
// come out negative on a busy machine.
var saneXDS = map[string][2]float64{
	"rate":             {0.01, 20_000},
	"direct":           {0.01, 20_000},
	"of_direct":        {0.001, 50},
	"copied_of_direct": {0.001, 50},
	"cpu":              {0.001, 10_000},
	"latency":          {-1e6, 1e6},
	"copied_latency":   {-1e6, 1e6},
	"memory":           {4, 500},
}

// TestQuick measures everything once, in small, on podplane: each measure must
// give a figure, and one that can be.
func TestQuick(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "figures.json")
	var table, progress bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, []string{"-quick", "-bin", podplane(t), "-json", path}, &table, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	t.Log(table.String())
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(content, &r); err != nil {
		t.Fatal(err)
	}
	bounds := maps.Clone(sane)
	for _, size := range []string{"xds1k", "xds64k", "xds4m"} {
		for id, b := range saneXDS {
			bounds[size+"_"+id] = b
		}
	}
	for _, row := range r.Rows {
		b, known := bounds[row.ID]
		delete(bounds, row.ID)
		cell := row.Cells[0]
		switch {
		case !known:
			t.Errorf("%s has no bounds here", row.ID)
		case cell.Figure == nil || cell.Reason != "":
			t.Errorf("%s was not measured: %s", row.ID, cell.Reason)
		case cell.Figure.Median < b[0] || cell.Figure.Median > b[1]:
			t.Errorf("%s is %v %s, which cannot be", row.ID, cell.Figure.Median, row.Unit)
		}
	}
	for id := range bounds {
		t.Errorf("%s is missing", id)
	}
}

// once runs one scenario once and gives its only row.
func once(t *testing.T, path, only string) (report.Row, string) {
	t.Helper()
	chosen, err := choose(scenarios(), only)
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	b := &bench{scale: quickScale(), quick: true, progress: &progress}
	if b.binaries, err = inspectAll(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	r := b.run(t.Context(), chosen)
	return r.Rows[0], progress.String()
}

// A binary that cannot do something gets a dash that says why, at once.
func TestWhatCannotBeMeasured(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script, only, reason string
	}{
		"does not start": {"echo bad flag >&2; exit 3", "start", "exit code 3: bad flag"},
		"ends with its Envoy": {
			"exec " + podplane(t) + ` "$@" -envoy-max-restarts=0`, "crash", "it ended with exit code",
		},
		"ends uncleanly": {podplane(t) + ` "$@" 2>/dev/null; echo oops; exit 4`, "job", "exit code 4: oops"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			row, progress := once(t, script(t, tt.script), tt.only)
			if row.Cells[0].Figure != nil || !strings.Contains(row.Cells[0].Reason, tt.reason) {
				t.Errorf("%+v, want a reason with %q\n%s", row.Cells[0], tt.reason, progress)
			}
			if took := time.Since(began); took > 2*step {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A binary that does nothing ends with the time that there is.
func TestHangingBinary(t *testing.T) {
	t.Parallel()
	b, err := inspect(t.Context(), script(t, `test "$1" = -version || exec sleep 1000`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	v, err := measureStart(ctx, b, quickScale())
	if err == nil || !strings.Contains(err.Error(), "wait for the envoy") {
		t.Errorf("%v, %v", v, err)
	}
}

// A dataplane that serves xDS over TCP, as consul-dataplane does, can be measured
// as well as one with a Unix socket.
func TestOverTCP(t *testing.T) {
	t.Parallel()
	row, progress := once(t, script(t, "exec "+podplane(t)+` "$@" -xds-bind-addr=127.0.0.1 -xds-bind-port=0`), "xds1k")
	if row.Cells[0].Figure == nil {
		t.Errorf("%+v\n%s", row.Cells[0], progress)
	}
}
