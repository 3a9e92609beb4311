// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"podplane/integration/mesh"
)

const (
	// loadRate is how many requests a second a load makes.
	loadRate = 200
	// loadTimeout bounds one of its requests.
	loadTimeout = 5 * time.Second
	// loadErrors is how many of its errors a load keeps for the report.
	loadErrors = 10
)

// load asks an upstream again and again, as applications do: half of the
// requests over connections that are kept, half over new ones. Requests are
// sent by the clock, whether or not earlier ones have been answered.
type load struct {
	url, want   string
	kept, fresh *http.Client
	start       time.Time
	cancel      context.CancelFunc
	running     sync.WaitGroup

	mu      sync.Mutex
	sent    int
	failed  int
	errors  []string
	slowest time.Duration
}

// startLoad starts a load on the upstream api, which ends with the test at the latest.
func startLoad(t *testing.T, from *mesh.Pod) *load {
	t.Helper()
	const upstream = "api"
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{
		url:    from.Upstream(upstream, "/load"),
		want:   mesh.Greeting(upstream) + ", /load",
		kept:   &http.Client{Timeout: loadTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: loadRate}},
		fresh:  &http.Client{Timeout: loadTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
		start:  time.Now(),
		cancel: cancel,
	}
	l.running.Go(func() { l.run(ctx) })
	t.Cleanup(l.stop)
	return l
}

func (l *load) run(ctx context.Context) {
	tick := time.NewTicker(time.Second / loadRate)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			client := l.kept
			if n%2 == 1 {
				client = l.fresh
			}
			l.running.Go(func() { l.request(client) })
		}
	}
}

// request is a POST because Go's client repeats a GET by itself when a kept
// connection breaks, and would hide what is looked for.
func (l *load) request(client *http.Client) {
	start := time.Now()
	err := l.ask(client)
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.slowest = max(l.slowest, took)
	if err == nil {
		return
	}
	l.failed++
	if len(l.errors) < loadErrors {
		l.errors = append(l.errors, fmt.Sprintf("after %s: %v", start.Sub(l.start).Round(time.Millisecond), err))
	}
}

func (l *load) ask(client *http.Client) error {
	resp, err := client.Post(l.url, "text/plain", strings.NewReader("load"))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != l.want:
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}

// stop ends the load and waits for the answers that are due. It may be called
// more than once.
func (l *load) stop() {
	l.cancel()
	l.running.Wait()
	l.kept.CloseIdleConnections()
}

// expectNoFailure ends the load; not one of its requests may have failed.
func (l *load) expectNoFailure(t *testing.T) {
	t.Helper()
	l.stop()
	took := time.Since(l.start)
	t.Logf("%d requests in %s (%.0f/s), %d failed, slowest %s", l.sent, took.Round(time.Second),
		float64(l.sent)/took.Seconds(), l.failed, l.slowest.Round(time.Millisecond))
	if l.failed > 0 {
		t.Errorf("%d of %d requests failed, such as\n%s", l.failed, l.sent, strings.Join(l.errors, "\n"))
	}
	if rate := float64(l.sent) / took.Seconds(); rate < loadRate/2 && busyness(t) < busy {
		t.Errorf("only %.0f requests a second could be made", rate)
	}
}
