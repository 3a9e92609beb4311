// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/config"
	"podplane/lifecycle"
	"podplane/selfregister"
)

// serviceFile writes the definition of a service web, without checks.
func serviceFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.hcl")
	text := "service {\n  name = \"web\"\n  port = 8080\n  connect {\n    sidecar_service {}\n  }\n}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// httpConsul is the HTTP API of a server, as far as a registration needs it: it
// takes everything and remembers it.
type httpConsul struct {
	mu     sync.Mutex
	writes []string // "register ID STATUS,…" and "deregister ID"
	tokens map[string]bool
	port   string
}

func startHTTPConsul(t *testing.T, address string) *httpConsul {
	t.Helper()
	h := &httpConsul{tokens: map[string]bool{}}
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	_, h.port, _ = net.SplitHostPort(l.Addr().String())
	server := httptest.NewUnstartedServer(h)
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return h
}

func (h *httpConsul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[r.Header.Get("X-Consul-Token")] = true
	body, _ := io.ReadAll(r.Body)
	var in struct {
		Service   struct{ ID string }
		Checks    []struct{ Status string }
		ServiceID string
	}
	_ = json.Unmarshal(body, &in)
	switch r.URL.Path {
	case "/v1/catalog/register":
		var statuses []string
		for _, c := range in.Checks {
			statuses = append(statuses, c.Status)
		}
		h.writes = append(h.writes, "register "+in.Service.ID+" "+strings.Join(statuses, ","))
	case "/v1/catalog/deregister":
		h.writes = append(h.writes, "deregister "+in.ServiceID)
	}
	_, _ = fmt.Fprintln(w, "null")
}

func (h *httpConsul) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.writes)
}

// TestSelfRegistration: from critical over passing to gone, in step with Envoy
// and with the drain, and with the session's token up to the end.
func TestSelfRegistration(t *testing.T) {
	t.Parallel()
	var (
		h        *httpConsul
		atLogout []string
	)
	fake := &fakeConsul{token: "secret", logout: func(context.Context) error { atLogout = h.seen(); return nil }}
	c := fake.start(t)
	h = startHTTPConsul(t, c.address)
	s := start(t, c, "-credential-type=login", "-login-auth-method=vm", "-login-bearer-token=bearer",
		"-service-file="+serviceFile(t), "-consul-http-port="+h.port)
	s.mustBeReady(t)
	eventually(t, "a passing proxy", func() bool { return slices.Contains(h.seen(), "register web-sidecar-proxy passing") })
	if first := h.seen()[0]; first != "register web critical" {
		t.Errorf("the first write is %q", first)
	}
	_, body := s.do(t, http.MethodGet, "/status")
	var status struct {
		Registration selfregister.Status
		Podplane     struct {
			ProxyID string `json:"proxy_id"`
		}
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	if r := status.Registration; !r.Registered || r.Node != "node-1" || r.ServiceID != "web" || len(r.Checks) != 2 {
		t.Errorf("status: %+v", r)
	}
	if status.Podplane.ProxyID != "web-sidecar-proxy" {
		t.Errorf("the proxy is %q", status.Podplane.ProxyID)
	}
	s.terminate()
	s.mustEndCleanly(t)
	got := h.seen()
	at := slices.Index(got, "deregister web-sidecar-proxy")
	if at < 1 || got[len(got)-1] != "deregister web" {
		t.Errorf("at the end: %q", got)
	}
	for token := range h.tokens {
		if token != "secret" {
			t.Errorf("a request with the token %q", token)
		}
	}
	if !slices.Equal(got, atLogout) {
		t.Errorf("at the logout there was %q", atLogout)
	}
}

// TestRegistrationWithoutHTTP: the HTTP API is away. Readiness says so, Envoy
// runs, and the end does not wait: nothing was ever registered.
func TestRegistrationWithoutHTTP(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{}).start(t)
	l, err := net.Listen("tcp", net.JoinHostPort(c.address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	s := start(t, c, "-service-file="+serviceFile(t), "-consul-http-port="+port)
	s.awaitReadiness(t, "a pending registration alone", func(st lifecycle.ReadyState) bool {
		return len(st.Pending) == 1 && st.Pending[0].Task == registrationTask && strings.Contains(st.Pending[0].LastError, "connection refused")
	})
	s.terminate()
	s.mustEndCleanly(t)
}

func TestServiceFileDecides(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "s.json")
	text := `{"service": {"name": "web", "id": "web-1", "namespace": "shop", "connect": {"sidecar_service": {}}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	given := func() *config.Config {
		c := config.Default()
		c.Registration.ServiceFile = file
		return c
	}
	o := Options{Config: given(), Log: hclog.NewNullLogger()}
	if _, err := readServiceFile(&o); err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	if p := o.Config.Proxy; p.ID != "web-1-sidecar-proxy" || p.Namespace != "shop" || p.NodeName != host {
		t.Errorf("got %+v", p)
	}
	o.Config = given()
	o.Config.Proxy.Namespace = "other"
	if _, err := readServiceFile(&o); ExitCode(err) != ExitConfig || !strings.Contains(err.Error(), "-proxy-namespace") {
		t.Errorf("two namespaces: %v", err)
	}
	o.Config = given()
	o.Config.Registration.ServiceFile = file + ".none"
	if _, err := New(o); ExitCode(err) != ExitConfig || !strings.Contains(err.Error(), "s.json.none") {
		t.Errorf("no file: %v", err)
	}
}

// TestDeregistrationFits: the kubelet's patience has room for the end of the
// registration, too.
func TestDeregistrationFits(t *testing.T) {
	t.Parallel()
	for grace, want := range map[time.Duration]time.Duration{0: 0, 30 * time.Second: 28 * time.Second, time.Second: 1} {
		if got := fitRegistration(lifecycle.DrainConfig{TerminationGrace: grace}).TerminationGrace; got != want {
			t.Errorf("%s becomes %s", grace, got)
		}
	}
}
