// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"io"
	"testing"

	"podplane/integration/bench/scrapeend"
)

// pod returns what the application and Envoy of a busy pod send: 250,000
// series in 2,200 families, 17 MB. Labels are sorted, as client libraries do.
func pod() (application, envoy []byte) {
	return scrapeend.Application(scrapeend.ApplicationSeries), scrapeend.Envoy(scrapeend.EnvoySeries)
}

func BenchmarkRead(b *testing.B) {
	application, _ := pod()
	b.SetBytes(int64(len(application)))
	b.ReportAllocs()
	for b.Loop() {
		e, err := Read(bytes.NewReader(application), Text, Options{})
		if err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}

// BenchmarkReadRaw is the copy alone, beside which BenchmarkRead stands.
func BenchmarkReadRaw(b *testing.B) {
	application, _ := pod()
	b.SetBytes(int64(len(application)))
	for b.Loop() {
		r := bytes.NewReader(application)
		var chunks []*chunk
		for r.Len() > 0 {
			c, err := newChunk(maxChunk, nil)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = r.Read(c.space())
			chunks = append(chunks, c)
		}
		for _, c := range chunks {
			c.free()
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	application, envoy := pod()
	a, err := Read(bytes.NewReader(application), Text, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	e, err := Read(bytes.NewReader(envoy), Text, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for name, c := range map[string]struct {
		to      Format
		sources []Source
	}{
		"verbatim":         {Text, []Source{{"envoy", e}, {"application", a}}},
		"to OpenMetrics":   {OpenMetrics, []Source{{"envoy", e}, {"application", a}}},
		"all in duplicate": {Text, []Source{{"one", a}, {"two", a}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(application) + len(envoy)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Merge(c.to, c.sources...).Write(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
