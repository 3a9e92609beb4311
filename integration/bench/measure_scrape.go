// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"podplane/integration/bench/report"
	"podplane/integration/bench/scrapeend"
)

// measureScrape asks for the merged exposition and for a raw copy of its sources
// in turn.
func measureScrape(ctx context.Context, b binary, sc scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{
		application: true,
		// Without this key nothing is merged. Nobody listens there, for this Envoy has no listeners.
		proxyConfig: map[string]any{"envoy_prometheus_bind_addr": "127.0.0.1:20200"},
	})
	if err != nil {
		return nil, err
	}
	defer s.close()
	if _, _, err := s.live(ctx); err != nil {
		return nil, err
	}
	raw, err := s.startCopy(ctx, "http://"+s.admin+"/stats/prometheus", s.application)
	if err != nil {
		return nil, err
	}
	idle, _, err := memory(s.dataplane.PID())
	if err != nil {
		return nil, err
	}
	v, err := s.scrapes(ctx, "http://"+s.merged+"/stats/prometheus", raw, sc.scrapes)
	if err != nil {
		return nil, err
	}
	_, peak, err := memory(s.dataplane.PID())
	if err != nil {
		return nil, err
	}
	v["scrape_memory"] = peak - idle
	return v, nil
}

func (s *site) scrapes(ctx context.Context, merged, raw string, count int) (values, error) {
	ctx, stop := whileRunning(ctx, s.dataplane)
	defer stop()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: step}
	if err := complete(ctx, client, raw); err != nil {
		return nil, fmt.Errorf("raw copy: %w", err)
	}
	if err := complete(ctx, client, merged); err != nil {
		return nil, fmt.Errorf("merged scrape: %w", err)
	}
	var mergedTimes, rawTimes, ratios []float64
	for range count {
		r, err := fetch(ctx, client, raw, io.Discard)
		if err != nil {
			return nil, err
		}
		m, err := fetch(ctx, client, merged, io.Discard)
		if err != nil {
			return nil, err
		}
		rawTimes = append(rawTimes, r.Seconds()*1e3)
		mergedTimes = append(mergedTimes, m.Seconds()*1e3)
		ratios = append(ratios, m.Seconds()/r.Seconds())
	}
	return values{
		"scrape_time": report.Median(mergedTimes), "scrape_raw": report.Median(rawTimes), "scrape_ratio": report.Median(ratios),
	}, nil
}

// complete waits until an exposition has the series of both sources. A dataplane
// may serve it some time after Envoy is LIVE.
func complete(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var lines lineCounter
		_, err := fetch(ctx, client, url, &lines)
		if err == nil && lines.series < scrapeend.ApplicationSeries+scrapeend.EnvoySeries {
			err = fmt.Errorf("%d series, not %d", lines.series, scrapeend.ApplicationSeries+scrapeend.EnvoySeries)
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// fetch gives how long it takes until all has come.
func fetch(ctx context.Context, client *http.Client, url string, into io.Writer) (time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	response, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s", url, response.Status)
	}
	if _, err := io.Copy(into, response.Body); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// lineCounter counts the lines of an exposition that are no comments.
type lineCounter struct {
	series  int
	within  bool // a line that has begun
	comment bool
}

// Write implements io.Writer.
func (c *lineCounter) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == '\n':
			if c.within && !c.comment {
				c.series++
			}
			c.within, c.comment = false, false
		case !c.within:
			c.within, c.comment = true, b == '#'
		}
	}
	return len(p), nil
}
