// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// endpoint is a row of the reference.
type endpoint struct {
	base, path string
	methods    []string
	codes      []int
	keys       []string // of the JSON
}

// seenElsewhere are codes that cannot be had here; the tests that have them are named.
var seenElsewhere = map[string]string{
	"/live 503":             "lifecycle, TestReadyAndLive: podplane would have to be stuck",
	"/loglevel 502":         "lifecycle, TestLogLevelEndpoint: Envoy would have to be stuck",
	"/stats/prometheus 503": "metrics, TestTooManyScrapes: more scrapes at once than there is room for",
}

var (
	endpointRow = regexp.MustCompile("^\\| `(/[^`]+)` \\| ([A-Z, ]+) \\| ([0-9, ]+) \\| (.*) \\|$")
	code        = regexp.MustCompile("`([^`]+)`")
	parenthesis = regexp.MustCompile(`\([^)]*\)`)
)

func endpoints(t *testing.T) []endpoint {
	t.Helper()
	var rows []endpoint
	base := lifecycleURL
	for _, line := range readPage(t, "docs/reference/endpoints.md").Prose() {
		if strings.HasPrefix(line, "## Metrics") {
			base = metricsURL
		}
		m := endpointRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		row := endpoint{base: base, path: m[1], methods: strings.Split(m[2], ", ")}
		for text := range strings.SplitSeq(m[3], ", ") {
			n, err := strconv.Atoi(text)
			must(t, err)
			row.codes = append(row.codes, n)
		}
		if _, answer, isJSON := strings.Cut(m[4], "JSON: "); isJSON {
			answer, _, _ = strings.Cut(parenthesis.ReplaceAllString(answer, ""), ". ")
			for _, key := range code.FindAllStringSubmatch(answer, -1) {
				row.keys = append(row.keys, key[1])
			}
		}
		rows = append(rows, row)
	}
	if len(rows) < 9 {
		t.Fatalf("only %d endpoints were found", len(rows))
	}
	return rows
}

// answers collects what endpoints answer, by their path.
type answers struct {
	codes map[string]map[int]bool
	keys  map[string]map[string]bool
}

// ask sends a request and notes the answer for the path of row.
func (a answers) ask(t *testing.T, row, method, url string, header http.Header) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	must(t, err)
	for name := range header {
		req.Header.Set(name, header.Get(name))
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if a.codes[row] == nil {
		a.codes[row], a.keys[row] = map[int]bool{}, map[string]bool{}
	}
	a.codes[row][resp.StatusCode] = true
	var document any
	if json.Unmarshal(body, &document) == nil {
		noteKeys(document, a.keys[row])
	}
	return resp.StatusCode, string(body)
}

// noteKeys notes all keys of a document, at any depth.
func noteKeys(v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			into[key] = true
			noteKeys(value, into)
		}
	case []any:
		for _, value := range v {
			noteKeys(value, into)
		}
	}
}

// TestEndpoints compares the reference with a real server: the methods that a path takes and no others, the codes, and
// the keys of the answers. It is not parallel: the ports are those of the text.
func TestEndpoints(t *testing.T) {
	if here == nil {
		t.Skip("podplane is run in a network of its own:", whyNot)
	}
	s := consulSite(t)
	rows := endpoints(t)
	seen := answers{map[string]map[int]bool{}, map[string]map[string]bool{}}
	t.Run("not registered", func(t *testing.T) { askWaiting(t, s, seen) })
	t.Run("ready", func(t *testing.T) { askReady(t, s, rows, seen) })
	t.Run("draining", func(t *testing.T) { askDraining(t, s, seen) })
	for _, row := range rows {
		if !strings.HasPrefix(row.path, "/graceful_shutdown") {
			continue
		}
		for _, method := range row.methods {
			t.Run(method+" "+row.path, func(t *testing.T) {
				startSidecar(t, s.place)
				if got, body := seen.ask(t, row.path, method, row.base+row.path, nil); got != 200 {
					t.Errorf("got %d %s", got, body)
				}
			})
		}
	}
	for _, row := range rows {
		compare(t, row, seen)
	}
}

// askWaiting asks one that waits for its registration.
func askWaiting(t *testing.T, s site, seen answers) {
	t.Helper()
	start(t, s.place, "-addresses", "127.0.0.1", "-tls-disabled", "-proxy-node-name", node, "-proxy-id", "nobody-sidecar-proxy")
	await(t, "a reason in /ready", func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, lifecycleURL+"/ready", http.NoBody)
		must(t, err)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(body), "last_error")
	})
	seen.ask(t, "/ready", http.MethodGet, lifecycleURL+"/ready", nil)
}

// askReady asks one that works, with every method.
func askReady(t *testing.T, s site, rows []endpoint, seen answers) {
	t.Helper()
	startSidecar(t, s.place)
	for _, row := range rows {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
			allowed := slices.Contains(row.methods, method)
			if allowed && strings.HasPrefix(row.path, "/graceful_shutdown") {
				continue
			}
			url := row.base + row.path
			if row.path == "/loglevel" {
				url += "?level=info&for=1s"
			}
			name := row.path
			if !allowed {
				name = "refused"
			}
			got, body := seen.ask(t, name, method, url, nil)
			if allowed && !slices.Contains(row.codes, got) || !allowed && got != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: got %d %s", method, row.path, got, body)
			}
		}
		if row.base == lifecycleURL {
			if got, _ := seen.ask(t, "page", row.methods[0], row.base+row.path, http.Header{"Origin": {"http://example.com"}}); got != http.StatusForbidden {
				t.Errorf("%s: a web page gets %d", row.path, got)
			}
		}
	}
	seen.ask(t, "/loglevel", http.MethodPost, lifecycleURL+"/loglevel?level=loud", nil)
	_, body := seen.ask(t, "/status", http.MethodGet, lifecycleURL+"/status", http.Header{"Accept": {"text/html"}})
	if !strings.Contains(body, "<html") {
		t.Errorf("no page for browsers: %s", body)
	}
}

// askDraining asks one that got SIGTERM, and keeps its grace period.
func askDraining(t *testing.T, s site, seen answers) {
	t.Helper()
	process := startSidecar(t, s.place, "-shutdown-grace-period-seconds", "600")
	must(t, process.Signal(15))
	await(t, "the drain", func(ctx context.Context) bool {
		got, _ := seen.ask(t, "/ready", http.MethodGet, lifecycleURL+"/ready", nil)
		return got == http.StatusServiceUnavailable
	})
	seen.ask(t, "/graceful_shutdown", http.MethodPost, lifecycleURL+"/graceful_shutdown", nil)
	seen.ask(t, "/graceful_shutdown?now", http.MethodPost, lifecycleURL+"/graceful_shutdown?now", nil)
}

func compare(t *testing.T, row endpoint, seen answers) {
	t.Helper()
	for _, want := range row.codes {
		name := row.path + " " + strconv.Itoa(want)
		if !seen.codes[row.path][want] && seenElsewhere[name] == "" {
			t.Errorf("%s was never answered", name)
		}
	}
	for got := range seen.codes[row.path] {
		if !slices.Contains(row.codes, got) {
			t.Errorf("%s answers %d, which the reference does not know", row.path, got)
		}
	}
	for _, key := range row.keys {
		if !seen.keys[row.path][key] {
			t.Errorf("%s never has a key %q", row.path, key)
		}
	}
}
