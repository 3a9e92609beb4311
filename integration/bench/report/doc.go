// SPDX-License-Identifier: MPL-2.0

// Package report makes a table and a JSON document of what the benchmark has
// measured.
//
// It owns the statistics, the form of the output, and the place in a document
// where the last table is kept. It measures nothing.
//
// What always holds: a figure comes with its spread and the number of its
// samples, and where there is none, a reason stands in its place.
package report
