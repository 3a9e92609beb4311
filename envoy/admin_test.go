// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// adminServer answers requests for path with what Envoy would, and notes the requests.
type adminServer struct {
	*Admin
	mu   sync.Mutex
	seen []string
}

func newAdminServer(t *testing.T, status int, body string, ignore ...string) *adminServer {
	t.Helper()
	a := &adminServer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.seen = append(a.seen, r.Method+" "+r.URL.RequestURI())
		a.mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	a.Admin = adminOf(t, server, ignore...)
	return a
}

func adminOf(t *testing.T, server *httptest.Server, ignore ...string) *Admin {
	t.Helper()
	a, err := NewAdmin(AdminConfig{Address: server.Listener.Addr().String(), Timeout: 10 * time.Second, IgnoreHTTP: ignore})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRefuseInbound(t *testing.T) {
	t.Parallel()
	a := newAdminServer(t, 200, "OK\n")
	if err := a.RefuseInbound(t.Context()); err != nil || !slices.Equal(a.seen, []string{"POST /drain_listeners?inboundonly"}) {
		t.Errorf("asked %q (%v)", a.seen, err)
	}
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	a := newAdminServer(t, 200, "active loggers:\n  admin: info\n  upstream: trace\n\n")
	levels, err := a.LogLevels(t.Context())
	if err != nil || len(levels) != 2 || levels["admin"] != "info" || levels["upstream"] != "trace" {
		t.Errorf("got %v (%v)", levels, err)
	}
	if err := a.RestoreLogLevels(t.Context(), levels); err != nil {
		t.Error(err)
	}
	if want := []string{"POST /logging", "POST /logging?paths=admin%3Ainfo%2Cupstream%3Atrace"}; !slices.Equal(a.seen, want) {
		t.Errorf("asked %q, want %q", a.seen, want)
	}
}

func TestNewAdmin(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:19000": "http://127.0.0.1:19000",
		"0.0.0.0:19000":   "http://127.0.0.1:19000",
		"[::]:19000":      "http://[::1]:19000",
		"10.1.2.3:19000":  "http://10.1.2.3:19000",
		"localhost:19000": "",
		"127.0.0.1":       "",
		"":                "",
	} {
		a, err := NewAdmin(AdminConfig{Address: address})
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was taken", address)
		case want != "" && (err != nil || a.base != want):
			t.Errorf("%q gives %v (%v), want %q", address, a, err, want)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		want   State
	}{
		"live":                 {200, "LIVE\n", Live},
		"draining":             {503, "DRAINING\n", Draining},
		"initializing":         {503, "INITIALIZING\n", Initializing},
		"before initializing":  {503, "PRE_INITIALIZING\n", PreInitializing},
		"unknown state":        {503, "ASLEEP\n", ""},
		"live, but 503":        {503, "LIVE\n", ""},
		"another server's 200": {200, "<html>", ""},
		"another server's 404": {404, "no", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := newAdminServer(t, tc.status, tc.body).State(t.Context())
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	for want, call := range map[string]func(context.Context, *Admin) error{
		"POST /quitquitquit": func(ctx context.Context, a *Admin) error { return a.Quit(ctx) },
		"POST /drain_listeners?inboundonly&graceful&skip_exit": func(ctx context.Context, a *Admin) error {
			return a.DrainInbound(ctx)
		},
		"POST /logging?level=warning": func(ctx context.Context, a *Admin) error { return a.SetLogLevel(ctx, "warn") },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			good := newAdminServer(t, http.StatusOK, "OK\n")
			if err := call(t.Context(), good.Admin); err != nil {
				t.Error(err)
			}
			if !slices.Equal(good.seen, []string{want}) {
				t.Errorf("requests were %q, want %q", good.seen, want)
			}
			var status *StatusError
			bad := newAdminServer(t, http.StatusMethodNotAllowed, "Method Not Allowed\n")
			if err := call(t.Context(), bad.Admin); !errors.As(err, &status) || status.Code != http.StatusMethodNotAllowed {
				t.Errorf("a 405 gave %v", err)
			}
		})
	}
	if err := newAdminServer(t, 200, "").SetLogLevel(t.Context(), "loud"); err == nil {
		t.Error("an unknown level was sent")
	}
}

// statsText is what a real /stats looks like around the gauges that count.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	huge := newAdminServer(t, 200, strings.Repeat(" ", maxAnswer+1))
	if _, err := huge.Certs(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge answer gave %v", err)
	}
	line := newAdminServer(t, 200, strings.Repeat("x", 2*maxStatLine))
	if _, err := line.Activity(t.Context()); err == nil || !strings.Contains(err.Error(), "read statistics") {
		t.Errorf("a huge line gave %v", err)
	}
}

func TestConfigDumpIsStreamed(t *testing.T) {
	t.Parallel()
	half := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-half // the rest comes only when the first part has been passed on
		_, _ = io.WriteString(w, " second")
	}))
	defer server.Close()
	var got bytes.Buffer
	err := adminOf(t, server).ConfigDump(t.Context(), writerFunc(func(p []byte) (int, error) {
		if got.Len() == 0 {
			close(half)
		}
		return got.Write(p)
	}))
	if err != nil || got.String() != "first second" {
		t.Errorf("got %q (%v)", got.String(), err)
	}
	full := errors.New("disk full")
	other := newAdminServer(t, 200, "x")
	if err := other.ConfigDump(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("a write error gave %v", err)
	}
	if want := "GET /config_dump?include_eds"; other.seen[0] != want {
		t.Errorf("asked %q, want %q", other.seen[0], want)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCallsHaveDeadlines(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	a, err := NewAdmin(AdminConfig{
		Address: server.Listener.Addr().String(), Timeout: 20 * time.Millisecond, DumpTimeout: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"state": func() error { _, err := a.State(t.Context()); return err },
		"quit":  func() error { return a.Quit(t.Context()) },
		"stats": func() error { _, err := a.Activity(t.Context()); return err },
		"dump":  func() error { return a.ConfigDump(t.Context(), io.Discard) },
	} {
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s gave %v", name, err)
		}
	}
}

func TestRedirectsAndProxiesAreNotFollowed(t *testing.T) {
	// Not parallel: it sets the environment.
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	server := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/", http.StatusFound))
	defer server.Close()
	var status *StatusError
	if err := adminOf(t, server).Quit(t.Context()); !errors.As(err, &status) || status.Code != http.StatusFound {
		t.Errorf("a redirect gave %v", err)
	}
}

func TestAdminIsAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	a := adminOf(t, server)
	server.Close()
	_, err := a.State(t.Context())
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "http://") {
		t.Errorf("error is %v", err)
	}
}
