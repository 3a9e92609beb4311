// SPDX-License-Identifier: MPL-2.0

// Package scrapeend has what a merged scrape is measured with: the series of an
// application and of an Envoy, the application's HTTP server, and a server that
// copies the same bytes raw, which is the least that any merging can cost.
//
// It owns their content and how it is served; who asks, and how long that takes,
// is the benchmark's own. What always holds: the same number of series is the
// same bytes.
package scrapeend
