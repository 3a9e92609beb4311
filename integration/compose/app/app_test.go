// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get asks a handler and gives status and body.
func get(t *testing.T, h http.Handler, path string, header http.Header) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	api := newService("api", "")
	tests := map[string]struct{ cert, want string }{
		"nobody":        {"", "this is api\n"},
		"a certificate": {`By=spiffe://x/svc/api;Hash=0;Subject="";URI=spiffe://x/svc/web`, "this is api, called by spiffe://x/svc/web\n"},
		"two proxies":   {"By=a;URI=spiffe://x/svc/forged,By=b;URI=spiffe://x/svc/web;DNS=y", "this is api, called by spiffe://x/svc/web\n"},
		"no URI":        {"By=a;Hash=0", "this is api\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, body := get(t, api, "/", http.Header{clientCertHeader: {tt.cert}})
			if code != http.StatusOK || body != tt.want {
				t.Errorf("got %d %q, want %q", code, body, tt.want)
			}
		})
	}
}

// What the upstream says is passed on, and counted.
func TestPassesOn(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "RBAC: access denied", http.StatusForbidden)
	}))
	web := newService("web", upstream.URL)
	if code, body := get(t, web, "/", nil); code != http.StatusForbidden || !strings.Contains(body, "RBAC: access denied") {
		t.Errorf("got %d %q", code, body)
	}
	upstream.Close()
	if code, _ := get(t, web, "/", nil); code != http.StatusBadGateway {
		t.Errorf("an upstream that is gone: %d", code)
	}
	code, body := get(t, web, "/metrics", nil)
	for _, want := range []string{`example_requests_total{code="403"} 1`, `example_requests_total{code="502"} 1`} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%q is not in %d %q", want, code, body)
		}
	}
	if code, _ := get(t, web, "/health", nil); code != http.StatusOK {
		t.Errorf("health: %d", code)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"podplane-example", "-name", "it", "-listen", "127.0.0.1:0"}, w)
		_ = w.Close()
	}()
	var addr string
	if _, err := fmt.Fscanf(r, "it answers at %s\n", &addr); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "this is it\n" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	_ = resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-no-such"}, {"-listen", "nowhere:0:0"}} {
		if err := run(t.Context(), append([]string{"podplane-example"}, args...), io.Discard); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		switch {
		case r.URL.Path == "/denied":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/later" && len(asked) < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}))
	t.Cleanup(server.Close)
	tests := []struct {
		args, want, err string
	}{
		{"--fail-early -fsS --retry 5 --retry-delay 0 URL/later --next -fsS -X POST URL/end", "GET /later,GET /later,GET /later,POST /end", ""},
		{"-fsS URL/denied --next URL/end", "GET /denied", "403"},
		{"-X", "", "needs a value"},
		{"--retry x", "", "--retry"},
		{"-k URL/", "", "-k"},
	}
	for _, tt := range tests { // one after the other: they share the list
		asked = nil
		args := strings.Fields("curl " + strings.ReplaceAll(tt.args, "URL", server.URL))
		err := run(t.Context(), args, io.Discard)
		if got := strings.Join(asked, ","); got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: asked %q, %v; want %q and an error with %q", tt.args, got, err, tt.want, tt.err)
		}
	}
}

func TestCurlGivesUpAfterItsRetries(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	err := run(t.Context(), []string{"curl", "--retry", "2", "--retry-delay", "0", server.URL}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "503") || asked.Load() != 3 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
}

// tlsServer accepts connections as the settings say and gives each to serve.
func tlsServer(t *testing.T, auth tls.ClientAuthType, serve func(net.Conn)) string {
	t.Helper()
	withCert := httptest.NewUnstartedServer(nil)
	withCert.StartTLS() // for its certificate
	config := &tls.Config{Certificates: withCert.TLS.Certificates, ClientAuth: auth}
	withCert.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestLook(t *testing.T) {
	t.Parallel()
	// The first byte makes the handshake happen, and tells a client that it was accepted.
	greet := func(conn net.Conn) { _, _ = conn.Write([]byte("x")) }
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	tests := map[string]struct{ addr, want, err string }{
		"mutual TLS": {tlsServer(t, tls.RequireAnyClientCert, greet), "refuses a client without a certificate (remote error: tls: certificate required), and plain text", ""},
		"TLS":        {tlsServer(t, tls.NoClientCert, greet), "", "accepts a client without a certificate"},
		"plain text": {plain.Listener.Addr().String(), "", "no TLS"},
		"both":       {tlsServer(t, tls.RequireAnyClientCert, answerPlain), "", "answers plain text with 200"},
		"nobody":     {"127.0.0.1:1", "", "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := run(t.Context(), []string{"podplane-example", "look", tt.addr}, &out)
			if !strings.Contains(out.String(), tt.want) || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v; want %q and an error with %q", &out, err, tt.want, tt.err)
			}
		})
	}
}

// answerPlain answers those with whom there is no handshake in plain text.
func answerPlain(conn net.Conn) {
	secured, _ := conn.(*tls.Conn)
	if err := secured.HandshakeContext(context.Background()); err != nil {
		if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) && plain.Conn != nil {
			_, _ = io.WriteString(plain.Conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
}
