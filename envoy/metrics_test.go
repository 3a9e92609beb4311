// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestExitsAreCountedByCauseAndCode(t *testing.T) {
	t.Parallel()
	m, err := newSupervisorMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(m.exits.WithLabelValues("oom", "137")); n != 0 {
		t.Errorf("%v ends before the first", n)
	}
	for _, e := range []*ExitError{{Code: 7}, {Code: 7}, {Code: -1, Signal: syscall.SIGKILL, OOM: true}, {}} {
		m.exited(e, 1)
	}
	for labels, want := range map[[2]string]float64{
		{"code", "7"}: 2, {"oom", "137"}: 1, {"clean", "0"}: 1, {"signal", "11"}: 0,
	} {
		if n := testutil.ToFloat64(m.exits.WithLabelValues(labels[0], labels[1])); n != want {
			t.Errorf("%v: %v ends, not %v", labels, n, want)
		}
	}
}
