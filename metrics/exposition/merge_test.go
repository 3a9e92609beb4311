// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// in is a source of a test, in the text format unless it ends in "# EOF\n".
type in struct{ name, text string }

func (i in) format() Format {
	if strings.HasSuffix(i.text, "# EOF\n") {
		return OpenMetrics
	}
	return Text
}

// merged merges the sources and returns what is written.
func merged(t *testing.T, to Format, sources ...in) (string, *Merged, Stats) {
	t.Helper()
	var list []Source
	for _, src := range sources {
		e, err := Read(strings.NewReader(src.text), src.format(), Options{})
		if err != nil {
			t.Fatalf("source %s: %v", src.name, err)
		}
		t.Cleanup(e.Close)
		list = append(list, Source{Name: src.name, Exposition: e})
	}
	m := Merge(to, list...)
	var out strings.Builder
	stats, err := m.Write(&out)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Bytes != int64(out.Len()) {
		t.Errorf("stats say %d bytes, written were %d", stats.Bytes, out.Len())
	}
	return out.String(), m, stats
}

// checkText has the output parsed by the library that Prometheus's own tools
// use, and looks for what that tolerates: a series given twice.
func checkText(text string) error {
	p := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := p.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		return err
	}
	series := make(map[string]bool)
	q := parser{format: Text}
	var s sample
	for line := range strings.Lines(text) {
		if line[0] == '#' {
			continue
		}
		if err := q.parse([]byte(strings.TrimSuffix(line, "\n")), &s); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		var labels []string
		for _, l := range s.labels {
			labels = append(labels, string(l.name)+"="+string(l.value))
		}
		slices.Sort(labels)
		key := string(s.name) + "\xff" + strings.Join(labels, "\xff")
		if series[key] {
			return fmt.Errorf("series twice: %q", line)
		}
		series[key] = true
	}
	return nil
}

func TestMergeText(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		sources []in
		want    string
		renames []Rename
		dropped map[string]int
	}{
		"one source goes out as it came": {
			sources: []in{{"a", "# HELP x \\\\ and \"\n# TYPE x counter\nx{a=\"1\",b=\"\\\"\\n\"} 5\nx 1e+06 123\n# TYPE y gauge\ny{} NaN\n"}},
			want:    "# HELP x \\\\ and \"\n# TYPE x counter\nx{a=\"1\",b=\"\\\"\\n\"} 5\nx 1e+06 123\n# TYPE y gauge\ny{} NaN\n",
		},
		"nothing shared": {
			sources: []in{{"a", "# TYPE x counter\nx 1\n"}, {"b", "# TYPE y counter\ny 1\n"}},
			want:    "# TYPE x counter\nx 1\n# TYPE y counter\ny 1\n",
		},
		"a shared family is joined under the first help, at its first place": {
			sources: []in{
				{"a", "# TYPE x counter\nx{s=\"a\"} 1\n# TYPE z gauge\nz 1\n"},
				{"b", "# HELP x from b\n# TYPE x counter\nx{s=\"b\"} 2\n"},
			},
			want: "# HELP x from b\n# TYPE x counter\nx{s=\"a\"} 1\nx{s=\"b\"} 2\n# TYPE z gauge\nz 1\n",
		},
		"duplicate series across sources, whatever the order of labels": {
			sources: []in{{"a", "x{p=\"1\",q=\"2\"} 1\n"}, {"b", "x{q=\"2\",p=\"1\"} 2\nx{p=\"1\"} 3\n"}},
			want:    "# TYPE x untyped\nx{p=\"1\",q=\"2\"} 1\nx{p=\"1\"} 3\n",
			dropped: map[string]int{"b": 1},
		},
		"duplicate series within a source": {
			sources: []in{{"a", "# TYPE x gauge\nx{p=\"1\"} 1\nx{p=\"2\"} 2\nx{p=\"1\"} 3\n"}},
			want:    "# TYPE x gauge\nx{p=\"1\"} 1\nx{p=\"2\"} 2\n",
			dropped: map[string]int{"a": 1},
		},
		"a family in two places of one source": {
			sources: []in{{"a", "# HELP x h\n# TYPE x gauge\nx{p=\"1\"} 1\ny 1\n# HELP x h\n# TYPE x gauge\nx{p=\"2\"} 2\n"}},
			want:    "# HELP x h\n# TYPE x gauge\nx{p=\"1\"} 1\nx{p=\"2\"} 2\ny 1\n",
		},
		"types clash": {
			sources: []in{{"a", "# TYPE x counter\nx 1\n"}, {"b-c", "# HELP x h\n# TYPE x gauge\nx 2\n"}},
			want:    "# TYPE x counter\nx 1\n# HELP x_from_b_c h\n# TYPE x_from_b_c gauge\nx_from_b_c 2\n",
			renames: []Rename{{"b-c", "x", "x_from_b_c"}},
		},
		"the new name is taken as well": {
			sources: []in{{"a", "# TYPE x counter\nx 1\nx_from_b 1\n"}, {"b", "# TYPE x gauge\nx 2\n"}},
			want:    "# TYPE x counter\nx 1\nx_from_b 1\n# TYPE x_from_b_2 gauge\nx_from_b_2 2\n",
			renames: []Rename{{"b", "x", "x_from_b_2"}},
		},
		"a counter keeps its ending": {
			sources: []in{{"a", "# TYPE x_total gauge\nx_total 1\n"}, {"b", "# TYPE x_total counter\nx_total 2\n"}},
			want:    "# TYPE x_total gauge\nx_total 1\n# TYPE x_from_b_total counter\nx_from_b_total 2\n",
			renames: []Rename{{"b", "x_total", "x_from_b_total"}},
		},
		"untyped joins a simple type": {
			sources: []in{{"a", "x{a=\"1\"} 1\n"}, {"b", "# TYPE x gauge\nx 2\n"}},
			want:    "# TYPE x gauge\nx{a=\"1\"} 1\nx 2\n",
		},
		"a name that is a sample of a histogram": {
			sources: []in{
				{"a", "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n"},
				{"b", "# TYPE x_count gauge\nx_count 2\n"},
			},
			want:    "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n# TYPE x_count_from_b gauge\nx_count_from_b 2\n",
			renames: []Rename{{"b", "x_count", "x_count_from_b"}},
		},
		"a histogram whose sample is a name": {
			sources: []in{
				{"a", "# TYPE x_count gauge\nx_count 2\n"},
				{"b", "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n"},
			},
			want:    "# TYPE x_count gauge\nx_count 2\n# TYPE x_from_b histogram\nx_from_b_bucket{le=\"+Inf\"} 1\nx_from_b_sum 1\nx_from_b_count 1\n",
			renames: []Rename{{"b", "x", "x_from_b"}},
		},
		"histograms are joined": {
			sources: []in{
				{"a", "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n"},
				{"b", "# TYPE x histogram\nx_bucket{le=\"+Inf\",i=\"b\"} 1\nx_sum{i=\"b\"} 1\nx_count{i=\"b\"} 1\n"},
			},
			want: "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\nx_bucket{le=\"+Inf\",i=\"b\"} 1\nx_sum{i=\"b\"} 1\nx_count{i=\"b\"} 1\n",
		},
		"carriage returns, blanks and no last newline": {
			sources: []in{{"a", "# HELP x h\r\n# TYPE x counter\r\nx{ a = \"1\" , b=\"2\", }  5\r\n\r\n\ty\t 7  "}},
			want:    "# HELP x h\n# TYPE x counter\nx{a=\"1\",b=\"2\"} 5\n# TYPE y untyped\ny 7\n",
		},
		"comments, blank lines and a stray end marker": {
			sources: []in{{"a", "# hello\n#\nx 1\n\n# EOF\n# what\nx{a=\"1\"} 1\n"}, {"b", "y 1\n"}},
			want:    "x 1\nx{a=\"1\"} 1\ny 1\n",
		},
		"metadata after the samples": {
			sources: []in{{"a", "x 1\n# HELP x h\n# TYPE x counter\nx{a=\"1\"} 1\n"}},
			want:    "# HELP x h\n# TYPE x counter\nx 1\nx{a=\"1\"} 1\n",
		},
		"a histogram declared after its samples": {
			sources: []in{{"a", "x_count 1\n# TYPE x histogram\nx_count 2\nx_sum 3\n"}},
			want:    "# TYPE x_count untyped\nx_count 1\nx_sum 3\n",
			dropped: map[string]int{"a": 1},
		},
		"metadata of nothing": {
			sources: []in{{"a", "# HELP x h\n# TYPE x counter\n# HELP y h\ny 1\n"}},
			want:    "# HELP y h\ny 1\n",
		},
		"types that are spelt otherwise": {
			sources: []in{{"a", "# TYPE a COUNTER\na 1\n# TYPE b unknown\nb 1\n# TYPE c info\nc 1\n# TYPE d gauge \nd 1\n# TYPE d\n"}},
			want:    "# TYPE a counter\na 1\n# TYPE b untyped\nb 1\n# TYPE c gauge\nc 1\n# TYPE d gauge\nd 1\n",
		},
		"help with escapes that only some readers know": {
			sources: []in{{"a", "# HELP x a\\\"b \\d \xff\nx 1\n"}},
			want:    "# HELP x a\"b \\\\d \uFFFD\n# TYPE x untyped\nx 1\n",
		},
		"quoted names": {
			sources: []in{{"a", "# HELP \"a.b\" h\n{\"a.b\",\"l-x\"=\"ü\"} 1\n{l=\"1\",\"a.b\"} 2\n"}},
			want:    "# HELP a_b h\n# TYPE a_b untyped\na_b{l_x=\"ü\"} 1\na_b{l=\"1\"} 2\n",
		},
		"OpenMetrics into text": {
			sources: []in{{"om", "# HELP c says \\\"hi\\\"\n# TYPE c counter\nc_total{a=\"1\"} 5 1.5 # {trace_id=\"x\"} 0.5 1.2\nc_created{a=\"1\"} 1000.5\n" +
				"# TYPE s_bytes gauge\n# UNIT s_bytes bytes\ns_bytes 1\n# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE e stateset\ne{e=\"a\"} 1\n" +
				"# TYPE u unknown\nu 1\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {} 0.5\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1.0\nh_created 9\n" +
				"# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\ng_gcount 1\ng_gsum -1.0\n# EOF\n"}},
			want: "# HELP c_total says \"hi\"\n# TYPE c_total counter\nc_total{a=\"1\"} 5 1500\n" +
				"# HELP c_created says \"hi\"\n# TYPE c_created gauge\nc_created{a=\"1\"} 1000.5\n" +
				"# TYPE s_bytes gauge\ns_bytes 1\n# TYPE i_info gauge\ni_info{v=\"1\"} 1\n# TYPE e gauge\ne{e=\"a\"} 1\n" +
				"# TYPE u untyped\nu 1\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1.0\n# TYPE h_created gauge\nh_created 9\n" +
				"# TYPE g_bucket gauge\ng_bucket{le=\"+Inf\"} 1\n# TYPE g_gsum gauge\ng_gsum -1.0\n# TYPE g_gcount gauge\ng_gcount 1\n",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, m, stats := merged(t, Text, c.sources...)
			if got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
			if !slices.Equal(m.Renames(), c.renames) {
				t.Errorf("renames: got %v, want %v", m.Renames(), c.renames)
			}
			if !maps.Equal(stats.Duplicates, c.dropped) {
				t.Errorf("duplicates: got %v, want %v", stats.Duplicates, c.dropped)
			}
			if err := checkText(got); err != nil {
				t.Errorf("not valid: %v", err)
			}
		})
	}
}

func TestMergeOpenMetrics(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		sources []in
		want    string
	}{
		"goes out as it came": {
			sources: []in{{"a", "# TYPE c counter\n# UNIT c \nc_total 5 1.5 # {trace_id=\"x\"} 0.5\nc_created 9\n# EOF\n"}, {"b", "# TYPE g gauge\ng 1\n# EOF\n"}},
			want:    "# TYPE c counter\nc_total 5 1.5 # {trace_id=\"x\"} 0.5\nc_created 9\n# TYPE g gauge\ng 1\n# EOF\n",
		},
		"text into OpenMetrics": {
			sources: []in{{"a", "# HELP c_total say \"hi\"\n# TYPE c_total counter\nc_total 5 1500\n# TYPE d counter\nd 1\n# TYPE g gauge\ng 1\nu 1\n# TYPE v untyped\nv 2\n"}},
			want:    "# HELP c say \\\"hi\\\"\n# TYPE c counter\nc_total 5 1.500\n# TYPE d unknown\nd 1\n# TYPE g gauge\ng 1\n# TYPE u unknown\nu 1\n# TYPE v unknown\nv 2\n# EOF\n",
		},
		"a counter whose short name is taken, before or after": {
			sources: []in{{"a", "# TYPE x_total counter\nx_total 5\n# TYPE x gauge\nx 1\n# TYPE x_created gauge\nx_created 3\n"}},
			want:    "# TYPE x_total unknown\nx_total 5\n# TYPE x gauge\nx 1\n# TYPE x_created gauge\nx_created 3\n# EOF\n",
		},
		"a creation time next to its counter": {
			sources: []in{{"a", "# TYPE x_total counter\nx_total 5\n# TYPE x_created gauge\nx_created 3\n"}},
			want:    "# TYPE x counter\nx_total 5\n# TYPE x_created gauge\nx_created 3\n# EOF\n",
		},
		"a unit": {
			sources: []in{{"a", "# TYPE x_bytes gauge\n# UNIT x_bytes bytes\nx_bytes{a=\"1\"} 1\n# EOF\n"}, {"b", "# TYPE x_bytes gauge\nx_bytes 1\n"}},
			want:    "# TYPE x_bytes gauge\n# UNIT x_bytes bytes\nx_bytes{a=\"1\"} 1\nx_bytes 1\n# EOF\n",
		},
		"counters of both formats are joined": {
			sources: []in{{"a", "# TYPE x counter\nx_total{a=\"1\"} 1\n# EOF\n"}, {"b", "# TYPE x_total counter\nx_total 2\n"}},
			want:    "# TYPE x counter\nx_total{a=\"1\"} 1\nx_total 2\n# EOF\n",
		},
		"nothing at all": {want: "# EOF\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _, _ := merged(t, OpenMetrics, c.sources...); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		text   string
		format Format
		limit  int64
		want   error
		line   int
	}{
		"half a line":            {text: "x 1\nx{a=\"b", want: errQuote, line: 2},
		"half a name":            {text: "x 1\nx", want: errValue, line: 2},
		"HTML":                   {text: "<html>\n", want: errName, line: 1},
		"a number for a name":    {text: "1x 1\n", want: errName, line: 1},
		"no name":                {text: "{a=\"1\"} 1\n", want: errName, line: 1},
		"two names":              {text: "{\"a\",\"b\"} 1\n", want: errLabel, line: 1},
		"an empty name":          {text: "{\"\"} 1\n", want: errName, line: 1},
		"a bad value":            {text: "x 0x1\n", want: errValue, line: 1},
		"a value out of range":   {text: "x 1e999\n", want: errValue, line: 1},
		"a bad timestamp":        {text: "x 1 1.5\n", want: errTimestamp, line: 1},
		"an exemplar in text":    {text: "x 1 # {} 1\n", want: errTrailing, line: 1},
		"a label twice":          {text: "x{a=\"1\",a=\"2\"} 1\n", want: errTwice, line: 1},
		"the reserved label":     {text: "x{__name__=\"1\"} 1\n", want: errLabel, line: 1},
		"a label without name":   {text: "x{=\"1\"} 1\n", want: errLabel, line: 1},
		"a label without value":  {text: "x{a} 1\n", want: errLabel, line: 1},
		"an unquoted value":      {text: "x{a=1} 1\n", want: errLabel, line: 1},
		"an open brace":          {text: "x{a=\"1\" 1\n", want: errLabel, line: 1},
		"a bad escape":           {text: "x{a=\"\\d\"} 1\n", want: errEscape, line: 1},
		"not UTF-8":              {text: "x{a=\"\xff\"} 1\n", want: errUTF8, line: 1},
		"an unknown type":        {text: "# TYPE x widget\n", want: errType, line: 1},
		"a bad name in HELP":     {text: "# HELP 1x y\n", want: errName, line: 1},
		"a bad bucket":           {text: "# TYPE x histogram\nx_bucket{le=\"a\"} 1\n", want: errBound, line: 2},
		"a bad quantile":         {text: "# TYPE x summary\nx{quantile=\"\"} 1\n", want: errBound, line: 2},
		"a negative bucket":      {text: "# TYPE x histogram\nx_bucket{le=\"1\"} -1\n", want: errNegative, line: 2},
		"too many bytes":         {text: "x 1\ny 1\n", limit: 6, want: ErrTooLarge},
		"a line without end":     {text: "x{a=\"" + strings.Repeat("a", maxChunk) + "\"} 1\n", want: ErrTooLarge},
		"no end of OpenMetrics":  {text: "x 1\n", format: OpenMetrics, want: ErrTruncated},
		"text after the end":     {text: "x 1\n# EOF\ny 1\n", format: OpenMetrics, want: errAfterEOF, line: 3},
		"an exemplar cut off":    {text: "x 1 # {a=\"1\"\n# EOF\n", format: OpenMetrics, want: errLabel, line: 1},
		"an exemplar of nothing": {text: "x 1 # \n# EOF\n", format: OpenMetrics, want: errLabel, line: 1},
		"an exemplar's value":    {text: "x 1 # {} y\n# EOF\n", format: OpenMetrics, want: errValue, line: 1},
		"an exemplar's time":     {text: "x 1 # {} 1 y\n# EOF\n", format: OpenMetrics, want: errTimestamp, line: 1},
		"after an exemplar":      {text: "x 1 # {} 1 1 1\n# EOF\n", format: OpenMetrics, want: errTrailing, line: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := Read(strings.NewReader(c.text), c.format, Options{MaxBytes: c.limit})
			if err == nil {
				e.Close()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("got error %v, want %v", err, c.want)
			}
			var syntax *SyntaxError
			if errors.As(err, &syntax); c.line > 0 && (syntax == nil || syntax.Line != c.line) {
				t.Errorf("got %v, want line %d", err, c.line)
			}
		})
	}
	t.Run("too many families", func(t *testing.T) {
		t.Parallel()
		var text bytes.Buffer
		for i := range maxFamilies + 1 {
			fmt.Fprintf(&text, "x%d 1\n", i)
		}
		if _, err := Read(&text, Text, Options{}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a reader that fails", func(t *testing.T) {
		t.Parallel()
		r := io.MultiReader(strings.NewReader("x 1\n"), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := Read(r, Text, Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	})
}

// big returns an exposition that fills many chunks, with lines of all lengths.
func big(families, series int) []byte {
	var b bytes.Buffer
	for f := range families {
		fmt.Fprintf(&b, "# HELP m%d_total The metric number %d.\n# TYPE m%d_total counter\n", f, f, f)
		for s := range series {
			fmt.Fprintf(&b, "m%d_total{method=\"GET\",path=\"/%s\",code=\"%d\"} %d\n", f, strings.Repeat("x", s%97), s, s*f)
		}
	}
	return b.Bytes()
}

func TestReadInPieces(t *testing.T) {
	t.Parallel()
	text := big(20, 2000)
	readers := map[string]io.Reader{
		"whole":  bytes.NewReader(text),
		"halves": iotest.HalfReader(bytes.NewReader(text)),
		"bytes":  iotest.OneByteReader(bytes.NewReader(text)),
		"eof":    iotest.DataErrReader(bytes.NewReader(text)),
	}
	for name, r := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := Read(r, Text, Options{MaxBytes: int64(len(text))})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if e.Samples() != 40000 || e.Bytes() != int64(len(text)) {
				t.Errorf("got %d samples, %d bytes", e.Samples(), e.Bytes())
			}
			var out bytes.Buffer
			if _, err := Merge(Text, Source{"a", e}).Write(&out); err != nil || !bytes.Equal(out.Bytes(), text) {
				t.Errorf("what was written is not what was read (%v)", err)
			}
		})
	}
}

// limitWriter fails after n bytes.
type limitWriter struct{ n int }

func (w *limitWriter) Write(b []byte) (int, error) {
	if len(b) > w.n {
		return 0, io.ErrShortWrite
	}
	w.n -= len(b)
	return len(b), nil
}

func TestWriteFails(t *testing.T) {
	t.Parallel()
	e, err := Read(bytes.NewReader(big(10, 2000)), Text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	defer e.Close() // harmless
	if _, err := Merge(OpenMetrics, Source{"a", e}, Source{"b", e}).Write(&limitWriter{n: 200_000}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}
