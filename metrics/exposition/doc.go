// SPDX-License-Identifier: MPL-2.0

// Package exposition reads, validates and merges metrics in Prometheus's text
// format 0.0.4 and in OpenMetrics 1.0, at the speed of memory.
//
// Read takes one source into memory of its own and checks every line while it
// arrives. Merge decides which families of several sources belong together, and
// which have to be renamed because their names or types clash. Merged.Write
// writes the result: whatever needs no change goes out as the bytes that came
// in, in runs as long as they can be; the rest is parsed and written anew, line
// by line.
//
// It does not fetch anything and knows nothing of HTTP.
//
// What always holds:
//
//   - What Read accepts, Write writes as one valid exposition, in either
//     format: one HELP and one TYPE a family, no name in two families, no
//     series twice (see Merge for the one exception), "# EOF" at the end of
//     OpenMetrics and nowhere else.
//   - The name of a sample does not depend on the format that is written, so a
//     query gives the same answer whatever a scraper negotiates.
//   - Memory outside the Go heap holds the sources once; Exposition.Close gives
//     it back to the system, or to a Pool, from which the system may take it.
//
// The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
// https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
package exposition
