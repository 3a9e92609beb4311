// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/companion"
)

// written tells when a word has been written.
type written struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	word string
	once sync.Once
	seen chan struct{}
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buf.Write(p)
	if strings.Contains(w.buf.String(), w.word) {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// TestServe waits for an API server that is away, and ends cleanly when asked to.
// It is the only one that may set the logger of Kubernetes' library.
func TestServe(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "away", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
		"clusters":[{"name":"c","cluster":{"server":%q}}],"contexts":[{"name":"c","context":{"cluster":"c"}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &written{word: "the registrar cannot start yet", seen: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{
			"-consul-addresses=127.0.0.1", "-consul-tls-disabled", "-image=i", "-kubeconfig=" + kubeconfig, "-shutdown-delay=1ms",
			"-webhook-addr=127.0.0.1:0", "-health-addr=127.0.0.1:0", "-metrics-addr=off",
		}, io.Discard, log)
	}()
	select {
	case <-log.seen:
	case <-ctx.Done():
	}
	cancel()
	if got := <-code; got != exitClean {
		t.Errorf("exit code %d: %s", got, log)
	}
	for _, word := range []string{"podplane-injector: starting: version=dev", "podplane-injector: ended"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("no %q in %s", word, log)
		}
	}
}

func TestBootstrapPrints(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Consul-Token") != "the-token":
			http.Error(w, "Permission denied", http.StatusForbidden)
		case r.Method == http.MethodPut:
			_, _ = io.Copy(w, r.Body)
		case strings.HasSuffix(r.URL.Path, "/binding-rules"):
			_, _ = io.WriteString(w, "[]")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("the-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"bootstrap-acl", "-consul-addresses=127.0.0.1", "-consul-http-port=" + port, "-consul-tls-disabled", "-kubernetes-host=https://k",
		"-bootstrap-token-path=" + token, "-kubernetes-ca-file=" + token, "-reviewer-token-path=" + token,
	}
	code, out, stderr := ran(t, args...)
	if code != exitClean || strings.Count(out, ": created\n") != 5 || !strings.Contains(out, "auth method podplane: created") {
		t.Errorf("%d: %s%s", code, out, stderr)
	}
	if strings.Contains(out+stderr, "the-token") {
		t.Error("the token is shown")
	}
	if code := run(t.Context(), args, full{}, io.Discard); code != exitOther {
		t.Errorf("a full device gives %d", code)
	}
}

// TestKubernetesLogger keeps the library's lines in the program's form.
func TestKubernetesLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	companion.Logr(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, JSONFormat: true})).Info("said", "key", 1)
	if !strings.Contains(out.String(), `"@message":"said"`) {
		t.Errorf("got %s", out.String())
	}
}
