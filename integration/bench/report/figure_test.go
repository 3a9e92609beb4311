// SPDX-License-Identifier: MPL-2.0

package report

import (
	"math"
	"testing"
)

func TestSummarise(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		samples          []float64
		median, min, max float64
	}{
		"one":  {[]float64{3}, 3, 3, 3},
		"odd":  {[]float64{9, 1, 4}, 4, 1, 9},
		"even": {[]float64{4, 1, 9, 2}, 3, 1, 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Summarise(tt.samples)
			if f.Median != tt.median || f.Min != tt.min || f.Max != tt.max || f.Samples[0] != tt.samples[0] {
				t.Errorf("%+v, want median %v, %v to %v, samples in their order", f, tt.median, tt.min, tt.max)
			}
		})
	}
	if f := Summarise(nil); f != nil {
		t.Errorf("nothing is %+v", f)
	}
	if m := Median(nil); !math.IsNaN(m) {
		t.Errorf("the median of nothing is %v", m)
	}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		pairs  [][2]float64
		median float64
		none   bool
	}{
		"of pairs, not of medians": {pairs: [][2]float64{{1, 2}, {30, 10}, {100, 100}}, median: 1},
		"no pairs":                 {none: true},
		"a divisor of zero":        {pairs: [][2]float64{{1, 2}, {1, 0}}, none: true},
		"a negative difference":    {pairs: [][2]float64{{-1, 2}}, none: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Ratios(tt.pairs)
			if tt.none != (f == nil) || (f != nil && f.Median != tt.median) {
				t.Errorf("%+v, want %v", f, tt)
			}
		})
	}
}
