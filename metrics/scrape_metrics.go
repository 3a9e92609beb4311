// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"podplane/metrics/exposition"
)

// scrapeMetrics tell how the scrapes of the sources went.
type scrapeMetrics struct {
	up, duration, samples, bytes  *prometheus.GaugeVec
	failures, duplicates, renamed *prometheus.CounterVec
	requests                      *prometheus.CounterVec
}

func newScrapeMetrics(reg prometheus.Registerer) (*scrapeMetrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"source"})
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &scrapeMetrics{
		up:         gauge("podplane_scrape_source_up", "Whether the last scrape of the source succeeded (1) or its metrics are missing from the merged endpoint (0)."),
		duration:   gauge("podplane_scrape_source_duration_seconds", "How long the last scrape of the source took."),
		samples:    gauge("podplane_scrape_source_samples", "Samples that the last successful scrape of the source gave."),
		bytes:      gauge("podplane_scrape_source_bytes", "Bytes, uncompressed, that the last successful scrape of the source gave."),
		failures:   counter("podplane_scrape_source_failures_total", "Scrapes of the source that failed, by reason.", "source", "reason"),
		duplicates: counter("podplane_scrape_duplicate_series_total", "Series of the source that were dropped because they had occurred before in the same scrape.", "source"),
		renamed:    counter("podplane_scrape_renamed_families_total", "Metric families of the source that were renamed in a scrape because their name or type clashed with an earlier one.", "source"),
		requests:   counter("podplane_scrape_requests_total", "Requests to the merged endpoint, by HTTP status code.", "code"),
	}
	for _, c := range []prometheus.Collector{m.up, m.duration, m.samples, m.bytes, m.failures, m.duplicates, m.renamed, m.requests} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// reason names the kind of an error for a label.
func reason(err error) string {
	var syntax *exposition.SyntaxError
	var timeout net.Error
	var network *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, errStatus):
		return "status"
	case errors.Is(err, errContentType):
		return "content_type"
	case errors.Is(err, exposition.ErrTooLarge):
		return "too_large"
	case errors.Is(err, exposition.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "truncated"
	case errors.As(err, &syntax):
		return "malformed"
	case errors.As(err, &network) && network.Op == "dial":
		return "connect"
	default:
		return "other"
	}
}
