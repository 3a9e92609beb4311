// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"podplane/metrics/exposition"
)

// httpSource is a metrics endpoint in this pod.
type httpSource struct {
	name      string
	url       *url.URL
	passQuery bool // the query of a scrape is for this source
}

// The errors of a source that the merger and net/http have no name for.
var (
	errStatus      = errors.New("unexpected status")
	errContentType = errors.New("a format that was not asked for")
)

// request is what a scrape asks of its sources.
type request struct {
	accept string
	query  string
	opts   exposition.Options
}

// scrape fetches and checks the whole of the source. The deadline is ctx's.
func (s *httpSource) scrape(ctx context.Context, client *http.Client, r request) (*exposition.Exposition, error) {
	u := *s.url
	if s.passQuery && r.query != "" {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += r.query
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", r.accept)
	req.Header.Set("User-Agent", "podplane")
	// The source is next door: compressing costs more than it saves.
	req.Header.Set("Accept-Encoding", "identity")
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline).Seconds()
		req.Header.Set(timeoutHeader, strconv.FormatFloat(left, 'f', 3, 64))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%w %s", errStatus, resp.Status)
	}
	return read(resp, r.opts)
}

// read takes the body of resp, in whatever format its headers say.
func read(resp *http.Response, opts exposition.Options) (*exposition.Exposition, error) {
	format := exposition.Text
	media, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err != nil: // Text without a proper type is common.
	case media == "application/openmetrics-text":
		if version := params["version"]; version != "" && version[0] > '1' {
			return nil, fmt.Errorf("%w: %s %s", errContentType, media, version)
		}
		format = exposition.OpenMetrics
	case media == "application/vnd.google.protobuf":
		return nil, fmt.Errorf("%w: %s", errContentType, media)
	}
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		zipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errContentType, err)
		}
		body = zipped
	}
	return exposition.Read(body, format, opts)
}

// gather takes the families of a registry as a source. What a registry reports
// besides an error is used: one collector that fails costs only itself.
func gather(g prometheus.Gatherer) (*exposition.Exposition, error) {
	families, gatherErr := g.Gather()
	var text bytes.Buffer
	for _, f := range families {
		// Not by expfmt.NewEncoder, which links all of the formats.
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			return nil, errors.Join(gatherErr, err)
		}
	}
	e, err := exposition.Read(&text, exposition.Text, exposition.Options{})
	return e, errors.Join(gatherErr, err)
}
