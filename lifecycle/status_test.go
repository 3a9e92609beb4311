// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ *DrainConfig, c *ServerConfig) {
		c.Status = []Section{
			{"envoy", func(context.Context) (any, error) { return map[string]any{"pid": 7, "state": "live"}, nil }},
			{"consul", func(context.Context) (any, error) { return nil, errors.New("no <session>") }},
			{"odd", func(context.Context) (any, error) { return func() {}, nil }},
		}
	})
	a := s.do(t, http.MethodGet, "/status", map[string]string{"Accept": "*/*"})
	var got struct {
		Envoy     map[string]any
		Consul    sectionError
		Odd       sectionError
		Lifecycle Shutdown
		Readiness ReadyState
	}
	a.into(t, &got)
	if a.header.Get("Content-Type") != "application/json" || got.Envoy["state"] != "live" ||
		got.Consul.Error != "no <session>" || got.Odd.Error == "" || got.Lifecycle.State != Running || !got.Readiness.Ready {
		t.Errorf("answer is %+v", a)
	}
	page := s.do(t, http.MethodGet, "/status", map[string]string{"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
	if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") ||
		!strings.Contains(page.body, "no &lt;session&gt;") || !strings.Contains(page.body, "<h2>envoy</h2>") {
		t.Errorf("page is %s", page.body)
	}
}

func TestWantsHTML(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"":                                   false,
		"*/*":                                false,
		"application/json":                   false,
		"text/html":                          true,
		"Text/HTML ; q=0.3":                  true,
		"text/html;q=0":                      false,
		"text/html;q=x":                      false,
		"text/html;q=0.5, application/json":  false,
		"application/json;q=0.5,text/html":   true,
		"application/json, text/html;q=high": false,
	} {
		if got := wantsHTML(accept); got != want {
			t.Errorf("%q: got %t", accept, got)
		}
	}
}

func TestStatusPage(t *testing.T) {
	t.Parallel()
	got := statusPage([]made{
		{"empty", json.RawMessage(`null`)},
		{"scalars", json.RawMessage(`{"text":"<b>","number":12345678901234567890,"yes_or_no":true,"no":false,"none":null}`)},
		{"rows", json.RawMessage(`[{"name":"api","healthy":2},{"name":"web","hosts":1}]`)},
		{"words", json.RawMessage(`{"uris":["spiffe://a","spiffe://b"],"nothing":[]}`)},
		{"broken", json.RawMessage(`{`)},
	})
	golden := filepath.Join("testdata", "status.html")
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the page is not that of %s:\n%s", golden, got)
	}
}

func FuzzStatusPage(f *testing.F) {
	f.Add(`{"a":[{"b":"<script>"}]}`)
	f.Add(`["<script>",{"<script>":1}]`)
	f.Fuzz(func(t *testing.T, content string) {
		if bytes.Contains(statusPage([]made{{"x", json.RawMessage(content)}}), []byte("<script")) {
			t.Errorf("%q is not escaped", content)
		}
	})
}
