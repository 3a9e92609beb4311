// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"strings"
	"testing"
)

// healthy is a source beside which anything may stand.
const healthy = "# HELP up_time h\n# TYPE up_time gauge\nup_time{healthy=\"yes\"} 1\n" +
	"# TYPE req histogram\nreq_bucket{healthy=\"yes\",le=\"+Inf\"} 1\nreq_sum{healthy=\"yes\"} 1\nreq_count{healthy=\"yes\"} 1\n"

// FuzzMerge holds that whatever bytes a source sends, it is either refused or
// merged into something valid in both formats, and never costs another source
// a sample.
func FuzzMerge(f *testing.F) {
	for _, seed := range []string{
		"# HELP x \\\\ and \"\n# TYPE x counter\nx{a=\"1\",b=\"\\\"\\n\"} 5\nx 1e+06 123\ny{} NaN\n",
		"# TYPE x histogram\nx_bucket{le=\"1\"} 1 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 1.5\nx_count 2\nx_count 3\n",
		"# TYPE x summary\nx{quantile=\"0.5\"} -1\nx_sum 1\nx_count 1\n# TYPE x_count gauge\nx_count 1\n",
		"# TYPE up_time counter\nup_time 1\n# TYPE req_count gauge\nreq_count 2\n# TYPE req summary\nreq 1\n",
		"{\"a.b\",\"c-d\"=\"ü\"}\t 5\r\n\r\n# comment\n\tx{ a = \"b\" , } 1  \nx{a=\"b\"} 2",
		"x_total 1\n# TYPE x_total counter\nx 1\nx_created 5\n# UNIT x y\n# TYPE h histogram\nh_created 1\n",
		"# TYPE c counter\n# UNIT c_s s\nc_total{a=\"1\"} 5 1.5 # {t=\"x\"} 0.5 1.2\nc_created{a=\"1\"} 9\nc 1\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 1\ng_gsum -1\n# EOF\n",
		"# TYPE i info\ni_info{v=\"1\"} 1\ni 2\n# TYPE e stateset\ne{e=\"a\"} 1\n# EOF",
		"# HELP x \rh\nx 1\n", "", "#", "# HELP", "# TYPE x", "{}", "x{", "x{a", "x{a=\"\\",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, openMetrics bool) {
		format := Text
		if openMetrics {
			format = OpenMetrics
		}
		e, err := Read(bytes.NewReader(text), format, Options{MaxBytes: 1 << 20})
		if err != nil {
			return
		}
		defer e.Close()
		good, err := Read(strings.NewReader(healthy), Text, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer good.Close()
		for _, order := range [][]Source{{{"good", good}, {"b-d", e}}, {{"b-d", e}, {"good", good}}, {{"b-d", e}}} {
			for _, to := range []Format{Text, OpenMetrics} {
				checkFuzzed(t, order, to)
			}
		}
	})
}

func checkFuzzed(t *testing.T, sources []Source, to Format) {
	t.Helper()
	var out bytes.Buffer
	if _, err := Merge(to, sources...).Write(&out); err != nil {
		t.Fatal(err)
	}
	if to == Text {
		if err := checkText(out.String()); err != nil {
			t.Fatalf("%v in:\n%s", err, out.String())
		}
	}
	// What is valid must be taken again, and be written without a change.
	again, err := Read(bytes.NewReader(out.Bytes()), to, Options{})
	if err != nil {
		t.Fatalf("%v in:\n%s", err, out.String())
	}
	defer again.Close()
	m := Merge(to, Source{"again", again})
	var second bytes.Buffer
	if _, err := m.Write(&second); err != nil || len(m.Renames()) > 0 || !bytes.Equal(second.Bytes(), out.Bytes()) {
		t.Fatalf("renames %v, error %v; at first:\n%s\nthen:\n%s", m.Renames(), err, out.String(), second.String())
	}
	if n := strings.Count(out.String(), `healthy="yes"`); len(sources) > 1 && n < 4 {
		t.Fatalf("of 4 samples of the healthy source %d are left:\n%s", n, out.String())
	}
}
