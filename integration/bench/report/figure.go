// SPDX-License-Identifier: MPL-2.0

package report

import (
	"math"
	"slices"
)

// Figure sums up samples of one measure.
type Figure struct {
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Samples []float64 `json:"samples"` // in the order in which they were taken
}

// Summarise gives nil for no samples.
func Summarise(samples []float64) *Figure {
	if len(samples) == 0 {
		return nil
	}
	return &Figure{
		Median: Median(samples), Min: slices.Min(samples), Max: slices.Max(samples), Samples: slices.Clone(samples),
	}
}

// Median is the middle of the samples, or the mean of the middle two; NaN for
// none.
func Median(samples []float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Ratios divides pair by pair, because a pair was measured at about the same
// time. It gives nil where that says nothing: for a divisor that is not positive,
// as a difference near zero may be.
func Ratios(pairs [][2]float64) *Figure {
	ratios := make([]float64, 0, len(pairs))
	for _, p := range pairs {
		if p[0] < 0 || p[1] <= 0 {
			return nil
		}
		ratios = append(ratios, p[0]/p[1])
	}
	return Summarise(ratios)
}
