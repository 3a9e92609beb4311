// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"podplane/integration/servers"
)

const (
	envoyText = "# TYPE envoy_up gauge\nenvoy_up{} 1\n"
	appText   = "# HELP app_requests_total Requests.\n# TYPE app_requests_total counter\napp_requests_total{code=\"200\"} 5\n"
)

// static serves text.
func static(t testing.TB, text string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// check parses text, and asks promtool, whose advice on style is the sources'
// affair.
func check(t *testing.T, text string) {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := p.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Errorf("invalid exposition: %v\n%s", err, text)
	}
	if _, err := servers.CheckMetrics(t.Context(), strings.NewReader(text)); err != nil {
		t.Error(err)
	}
}

func wantAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}

func TestScrapeAllSources(t *testing.T) {
	t.Parallel()
	query := make(chan string, 1)
	envoy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query <- r.URL.RawQuery
		_, _ = io.WriteString(w, envoyText)
	}))
	t.Cleanup(envoy.Close)
	url := start(t, Config{
		EnvoyURL:        envoy.URL + "/stats/prometheus?format=x",
		ApplicationURLs: []string{static(t, appText), static(t, "# TYPE second gauge\nsecond 1\n")},
	})
	resp := get(t, url+"?usedonly&filter=a%7Cb")
	if resp.code != http.StatusOK || resp.header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("got %d, %s", resp.code, resp.header.Get("Content-Type"))
	}
	if q := <-query; q != "format=x&usedonly&filter=a%7Cb" {
		t.Errorf("Envoy was asked for %q", q)
	}
	check(t, resp.text)
	wantAll(t, resp.text, envoyText, appText, "second 1\n", "podplane_build_info{", "podplane_go_goroutines ",
		`podplane_scrape_source_up{source="envoy"} 1`, `podplane_scrape_source_up{source="application"} 1`,
		`podplane_scrape_source_up{source="application_2"} 1`, `podplane_scrape_source_samples{source="application"} 1`,
		fmt.Sprintf("podplane_scrape_source_bytes{source=\"application\"} %d\n", len(appText)))
}

// TestSourceFails holds that a source that fails in any way leaves nothing in
// the answer, and costs no other source anything.
func TestSourceFails(t *testing.T) {
	t.Parallel()
	partial := "half_sent 1\n"
	cases := map[string]struct {
		handler http.HandlerFunc
		reason  string
	}{
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, partial, http.StatusInternalServerError)
		}, "status"},
		"not found": {http.NotFound, "status"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, partial)
		}, "truncated"},
		"aborted": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, partial)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "truncated"},
		"half a line": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, partial+"half{a=\"b")
		}, "malformed"},
		"garbage": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, partial+"<html>\n")
		}, "malformed"},
		"OpenMetrics without its end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0")
			_, _ = io.WriteString(w, partial)
		}, "truncated"},
		"protobuf": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.google.protobuf; proto=x")
		}, "content_type"},
		"a future OpenMetrics": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/openmetrics-text; version=2.0.0")
		}, "content_type"},
		"what is not gzip": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, partial)
		}, "content_type"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, partial+strings.Repeat("# padding\n", 1000))
		}, "too_large"},
		"slow": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, partial)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "timeout"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timeout"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Envoy, which is well, is to answer within the time that these do not.
			timeout := time.Minute
			if c.reason == "timeout" {
				timeout = 3 * time.Second
			}
			app := httptest.NewUnstartedServer(c.handler)
			app.Start()
			t.Cleanup(app.Close)
			url := start(t, Config{
				EnvoyURL:        static(t, envoyText),
				ApplicationURLs: []string{app.URL},
				MaxSourceBytes:  4096,
				Timeout:         timeout,
			})
			resp := get(t, url)
			if resp.code != http.StatusOK {
				t.Errorf("got %d", resp.code)
			}
			text := resp.text
			check(t, text)
			wantAll(t, text, envoyText, `podplane_scrape_source_up{source="envoy"} 1`, `podplane_scrape_source_up{source="application"} 0`,
				`podplane_scrape_source_failures_total{reason="`+c.reason+`",source="application"} 1`)
			if strings.Contains(text, "half") {
				t.Errorf("what the failing source had sent is there:\n%s", text)
			}
		})
	}
}

func TestSourceGone(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	text := get(t, start(t, Config{ApplicationURLs: []string{"http://" + addr}})).text
	wantAll(t, text, `podplane_scrape_source_failures_total{reason="connect",source="application"} 1`)
}

func TestSourceRecovers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	fail := true
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if fail {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, appText)
	}))
	t.Cleanup(app.Close)
	url := start(t, Config{ApplicationURLs: []string{app.URL}})
	for range 2 {
		if text := get(t, url).text; strings.Contains(text, "app_requests_total{") {
			t.Error("metrics of a failing source")
		}
	}
	mu.Lock()
	fail = false
	mu.Unlock()
	text := get(t, url).text
	wantAll(t, text, appText, `podplane_scrape_source_up{source="application"} 1`, `failures_total{reason="status",source="application"} 2`)
}

func TestSourcesClash(t *testing.T) {
	t.Parallel()
	url := start(t, Config{
		EnvoyURL:        static(t, "# TYPE x counter\nx 1\n# TYPE y gauge\ny 1\n"),
		ApplicationURLs: []string{static(t, "# TYPE x gauge\nx 2\n# TYPE y gauge\ny 2\ny{a=\"1\"} 3\n")},
	})
	get(t, url)
	text := get(t, url).text
	check(t, text)
	wantAll(t, text, "# TYPE x_from_application gauge\nx_from_application 2\n", "y 1\ny{a=\"1\"} 3\n",
		`podplane_scrape_renamed_families_total{source="application"} 1`, `podplane_scrape_duplicate_series_total{source="application"} 1`)
}

func TestNegotiation(t *testing.T) {
	t.Parallel()
	const openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	const text = "text/plain; version=0.0.4; charset=utf-8"
	const prometheusAccept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Accept"), "application/openmetrics-text") {
			w.Header().Set("Content-Type", openMetrics)
			_, _ = io.WriteString(w, "# TYPE app_requests counter\napp_requests_total 5 # {trace_id=\"x\"} 1\n# EOF\n")
			return
		}
		_, _ = io.WriteString(w, "# TYPE app_requests_total counter\napp_requests_total 5\n")
	}))
	t.Cleanup(app.Close)
	url := map[bool]string{
		true:  start(t, Config{EnvoyURL: static(t, envoyText), ApplicationURLs: []string{app.URL}}),
		false: start(t, Config{EnvoyURL: static(t, envoyText)}),
	}
	cases := map[string]struct {
		accept string
		app    bool
		want   string
	}{
		"nothing asked for":              {"", true, text},
		"anything":                       {"*/*", true, text},
		"nonsense":                       {";;,q", true, text},
		"text":                           {"text/plain", true, text},
		"only OpenMetrics":               {"application/openmetrics-text", false, openMetrics},
		"Prometheus":                     {prometheusAccept, true, openMetrics},
		"Prometheus, and all is text":    {prometheusAccept, false, text},
		"text rather than OpenMetrics":   {"application/openmetrics-text;q=0.1,text/plain", true, text},
		"an OpenMetrics that is unknown": {"application/openmetrics-text;version=2.0.0", true, text},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := get(t, url[c.app], "Accept", c.accept)
			if got := resp.header.Get("Content-Type"); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			body := resp.text
			wantAll(t, body, "envoy_up{} 1\n")
			if eof := strings.HasSuffix(body, "# EOF\n"); eof != (c.want == openMetrics) || strings.Count(body, "# EOF") > 1 {
				t.Errorf("# EOF at the end: %t", eof)
			}
			if c.want == text {
				check(t, body)
			}
			if c.app && c.want == openMetrics {
				wantAll(t, body, "# {trace_id=\"x\"} 1\n")
			}
		})
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		_, _ = io.WriteString(zip, appText)
		_ = zip.Close()
	}))
	t.Cleanup(app.Close)
	url := start(t, Config{ApplicationURLs: []string{app.URL}})
	for header, want := range map[string]bool{"gzip": true, "deflate, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "br": false, "": false} {
		resp := get(t, url, "Accept-Encoding", header)
		if got := resp.header.Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%q: compressed is %t", header, got)
			continue
		}
		body := resp.text
		if want {
			zip, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(zip)
			if err != nil {
				t.Fatal(err)
			}
			body = string(plain)
		}
		check(t, body)
		wantAll(t, body, appText)
	}
}

func TestScrapeTimeout(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		header          string
		client, sources time.Duration
	}{
		"none":     {"", 10 * time.Second, 9500 * time.Millisecond},
		"short":    {"1", time.Second, 900 * time.Millisecond},
		"long":     {"60", time.Minute, 59500 * time.Millisecond},
		"too long": {"1e300", maxTimeout, maxTimeout - 500*time.Millisecond},
		"nonsense": {"soon", 10 * time.Second, 9500 * time.Millisecond},
		"negative": {"-1", 10 * time.Second, 9500 * time.Millisecond},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, sources := scrapeTimeout(http.Header{timeoutHeader: {c.header}}, 10*time.Second)
			if client != c.client || sources != c.sources {
				t.Errorf("got %v and %v", client, sources)
			}
		})
	}
}

// hanging serves a source that tells when it was asked, and when that ended.
func hanging(t *testing.T) (url string, asked, ended chan struct{}) {
	t.Helper()
	asked, ended = make(chan struct{}, 8), make(chan struct{}, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked, ended
}

func TestTooManyScrapes(t *testing.T) {
	t.Parallel()
	app, asked, _ := hanging(t)
	url := start(t, Config{ApplicationURLs: []string{app}, MaxInFlight: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() {
		_, _ = try(ctx, http.MethodGet, url)
	})
	<-asked
	resp := get(t, url, timeoutHeader, "0.2")
	if resp.code != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
		t.Errorf("got %d", resp.code)
	}
	cancel()
	first.Wait()
	// The slot is free again, and a client that left says nothing of the source.
	text := get(t, url, timeoutHeader, "0.2").text
	wantAll(t, text, `podplane_scrape_requests_total{code="503"} 1`, `reason="timeout",source="application"} 1`)
}

func TestClientLeaves(t *testing.T) {
	t.Parallel()
	app, asked, ended := hanging(t)
	url := start(t, Config{ApplicationURLs: []string{app}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := try(ctx, http.MethodGet, url); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	<-ended // and not after the ten seconds of a scrape
}

func TestStopCutsScrapesOff(t *testing.T) {
	t.Parallel()
	app, asked, ended := hanging(t)
	s, err := New(Config{Addr: "127.0.0.1:0", ApplicationURLs: []string{app}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	var client sync.WaitGroup
	client.Go(func() {
		_, _ = try(t.Context(), http.MethodGet, "http://"+s.Addr().String()+Path)
	})
	<-asked
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-ended
	client.Wait()
}

func TestOnlyGet(t *testing.T) {
	t.Parallel()
	url := start(t, Config{})
	for method, want := range map[string]int{http.MethodPost: 405, http.MethodHead: 200} {
		got, err := try(t.Context(), method, url)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v", method, got, err)
		}
	}
	if resp := get(t, strings.TrimSuffix(url, Path)+"/metrics"); resp.code != http.StatusNotFound {
		t.Errorf("another path: got %d", resp.code)
	}
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	twice := NewRegistry(BuildInfo{})
	if _, err := newScrapeMetrics(twice); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		cfg  Config
		want string
	}{
		"port taken":         {Config{Addr: l.Addr().String()}, syscall.EADDRINUSE.Error()},
		"not a URL":          {Config{EnvoyURL: "http://a b"}, "URL of Envoy's statistics"},
		"another scheme":     {Config{ApplicationURLs: []string{"ftp://a"}}, `"ftp://a" is not an http or https URL`},
		"registered already": {Config{Registry: twice}, "duplicate metrics"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := New(c.cfg, nil)
			if err == nil {
				_ = s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestListenerLost(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Addr: "127.0.0.1:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if err := s.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// broken is a collector that cannot be gathered.
type broken struct{ desc *prometheus.Desc }

func (b broken) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc }

func (b broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(b.desc, errors.New("out of order"))
}

func TestCollectorFails(t *testing.T) {
	t.Parallel()
	reg := NewRegistry(BuildInfo{Version: "1.2.3"})
	reg.MustRegister(broken{prometheus.NewDesc("podplane_broken", "h", nil, nil)})
	url := start(t, Config{Registry: reg})
	get(t, url)
	text := get(t, url).text
	check(t, text)
	wantAll(t, text, `version="1.2.3"`, `podplane_scrape_source_failures_total{reason="other",source="podplane"} 1`)
}
