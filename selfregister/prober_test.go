// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	t.Parallel()
	const p, w, c = Passing, Warning, Critical
	for name, tc := range map[string]struct {
		check         Check
		results, want []string
	}{
		"at once":        {Check{Status: c}, []string{p, c, w, p}, []string{p, c, w, p}},
		"patience":       {Check{Status: p, FailuresBeforeCritical: 3}, []string{c, c, c, p, c, c}, []string{p, p, c, p, p, p}},
		"in a row":       {Check{Status: p, FailuresBeforeCritical: 2}, []string{c, p, c, p, c, c}, []string{p, p, p, p, p, c}},
		"warning first":  {Check{Status: p, FailuresBeforeWarning: 1, FailuresBeforeCritical: 3}, []string{c, c, c}, []string{w, w, c}},
		"slow to pass":   {Check{Status: c, SuccessBeforePassing: 2}, []string{p, p, c, p}, []string{c, p, c, c}},
		"429 is success": {Check{Status: c, SuccessBeforePassing: 2}, []string{w, w}, []string{c, w}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := tally{check: tc.check, status: tc.check.Status}
			var got []string
			for _, r := range tc.results {
				got = append(got, tally.count(r))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestHTTPCheck(t *testing.T) {
	t.Parallel()
	handler := http.NewServeMux()
	handler.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "s3cret body") })
	handler.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	handler.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	handler.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	handler.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the client is noticed
		<-r.Context().Done()
	})
	handler.HandleFunc("POST /post", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != "hello" || r.Header.Get("X-Key") != "k" || r.Host != "web.example" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for name, tc := range map[string]struct {
		check  Check
		status string
		output string
	}{
		"ok":          {Check{HTTP: plain.URL + "/ok"}, Passing, "200 OK"},
		"busy":        {Check{HTTP: plain.URL + "/busy"}, Warning, "429"},
		"bad":         {Check{HTTP: plain.URL + "/bad"}, Critical, "500"},
		"moved":       {Check{HTTP: plain.URL + "/moved"}, Passing, "200"},
		"not moved":   {Check{HTTP: plain.URL + "/moved", DisableRedirects: true}, Critical, "302"},
		"slow":        {Check{HTTP: plain.URL + "/slow", Timeout: 20 * time.Millisecond}, Critical, "deadline exceeded"},
		"post":        {Check{HTTP: plain.URL + "/post", Method: "post", Body: "hello", Header: map[string][]string{"x-key": {"k"}, "Host": {"web.example"}}}, Passing, "POST"},
		"unknown CA":  {Check{HTTP: secure.URL + "/ok"}, Critical, "certificate"},
		"any CA":      {Check{HTTP: secure.URL + "/ok", TLSSkipVerify: true}, Passing, "200"},
		"query":       {Check{HTTP: plain.URL + "/ok?key=s3cret"}, Passing, "/ok: 200"},
		"nobody":      {Check{HTTP: "http://127.0.0.1:1/?key=s3cret"}, Critical, "refused"},
		"TCP":         {Check{TCP: plain.Listener.Addr().String()}, Passing, "success"},
		"TCP, nobody": {Check{TCP: "127.0.0.1:1"}, Critical, "refused"},
		"TCP, TLS":    {Check{TCP: secure.Listener.Addr().String(), TCPUseTLS: true, TLSSkipVerify: true}, Passing, "success"},
		"TCP, no TLS": {Check{TCP: plain.Listener.Addr().String(), TCPUseTLS: true, TLSSkipVerify: true}, Critical, "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.check.Timeout == 0 {
				tc.check.Timeout = patience
			}
			status, output := newProber(tc.check, nil).once(t.Context())
			if status != tc.status || !strings.Contains(output, tc.output) || strings.Contains(output, "s3cret") {
				t.Errorf("%s: %s", status, output)
			}
		})
	}
}

// TestProberRepeats: at once, and then again and again until the end.
func TestProberRepeats(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var (
		mu      sync.Mutex
		results []string
	)
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(results)
	}
	p := newProber(Check{ID: "c", TCP: l.Addr().String(), Interval: 10 * time.Millisecond, Timeout: patience}, func(id, status, _ string) {
		mu.Lock()
		defer mu.Unlock()
		results = append(results, id+" "+status)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	eventually(t, "three results", func() bool { return count() >= 3 })
	cancel()
	<-done
	if results[0] != "c passing" {
		t.Errorf("got %q", results)
	}
}

func TestInstance(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, i := range []string{
		instanceOf("machine", "host", "/a"), instanceOf("machine2", "host", "/a"), instanceOf("machine", "host2", "/a"), instanceOf("machine", "host", "/b"),
	} {
		if seen[i] || len(i) != 16 || strings.Contains(i, "machine") {
			t.Errorf("the mark %s", i)
		}
		seen[i] = true
	}
	if first := Instance("/a"); first != Instance("/a") || first == Instance("/b") {
		t.Error("the mark is not one of the file")
	}
}
