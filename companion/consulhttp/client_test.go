// SPDX-License-Identifier: MPL-2.0

package consulhttp

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"podplane/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// consul knows tokens, and gives them to those who log in.
type consul struct {
	mu      sync.Mutex
	known   map[string]bool
	ttl     time.Duration
	logins  int
	logouts int
	tokens  []string // as presented to /v1/status/leader
}

func (c *consul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	token := r.Header.Get(tokenHeader)
	switch r.URL.Path {
	case "/v1/acl/login":
		var in api.ACLLoginParams
		_ = json.NewDecoder(r.Body).Decode(&in)
		if in.BearerToken != "the-bearer" || in.AuthMethod != "podplane" {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		c.logins++
		secret := fmt.Sprintf("token-%d", c.logins)
		c.known[secret] = true
		out := api.ACLToken{SecretID: secret, AccessorID: "accessor"}
		if c.ttl != 0 {
			end := time.Now().Add(c.ttl)
			out.ExpirationTime = &end
		}
		_ = json.NewEncoder(w).Encode(out)
	case "/v1/acl/logout":
		c.logouts++
		delete(c.known, token)
	default:
		c.tokens = append(c.tokens, token)
		if c.known != nil && !c.known[token] {
			http.Error(w, "ACL not found", http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`"127.0.0.1:8300"`))
	}
}

func serving(t *testing.T, h http.Handler, secure bool) (server *httptest.Server, port int) {
	t.Helper()
	server = httptest.NewUnstartedServer(h)
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	_, text, _ := net.SplitHostPort(server.Listener.Addr().String())
	port, _ = strconv.Atoi(text)
	return server, port
}

func settings(port int) config.CompanionConsul {
	return config.CompanionConsul{Addresses: "127.0.0.1", HTTPPort: port, TLS: config.ConsulTLS{Disabled: true}}
}

func made(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.via.next.CloseIdleConnections)
	return c
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGivenTokens(t *testing.T) {
	t.Parallel()
	path := file(t, "from-file\n")
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"none":    {func(*Config) {}, ""},
		"static":  {func(c *Config) { c.Consul.Credentials = static(config.StaticCredentials{Token: "x"}) }, "x"},
		"file":    {func(c *Config) { c.Consul.Credentials = static(config.StaticCredentials{TokenPath: path}) }, "from-file"},
		"instead": {func(c *Config) { c.Token = "y"; c.Consul.Credentials = static(config.StaticCredentials{Token: "x"}) }, "y"},
		"instead, by file": {func(c *Config) {
			c.TokenPath = path
			c.Consul.Credentials = static(config.StaticCredentials{Token: "x"})
		}, "from-file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := &consul{}
			_, port := serving(t, fake, false)
			cfg := Config{Consul: settings(port)}
			tc.change(&cfg)
			c := made(t, cfg)
			if _, err := c.API.Status().Leader(); err != nil {
				t.Fatal(err)
			}
			if fake.tokens[0] != tc.want {
				t.Errorf("presented %q", fake.tokens)
			}
			if err := c.Close(t.Context()); err != nil || fake.logouts != 0 {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func static(s config.StaticCredentials) config.Credentials {
	return config.Credentials{Type: config.CredentialStatic, Static: s}
}

func login(path string) config.Credentials {
	return config.Credentials{Type: config.CredentialLogin, Login: config.LoginCredentials{AuthMethod: "podplane", BearerTokenPath: path}}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	fake := &consul{known: map[string]bool{}}
	_, port := serving(t, fake, false)
	cfg := Config{Consul: settings(port)}
	cfg.Consul.Credentials = login(file(t, "the-bearer\n"))
	c := made(t, cfg)
	for range 3 {
		if _, err := c.API.Status().Leader(); err != nil {
			t.Fatal(err)
		}
	}
	if fake.logins != 1 {
		t.Errorf("%d logins", fake.logins)
	}
	fake.known = map[string]bool{} // somebody deleted it
	if _, err := c.API.Status().Leader(); err == nil || !strings.Contains(err.Error(), "ACL not found") {
		t.Errorf("the refusal was not passed on: %v", err)
	}
	if _, err := c.API.Status().Leader(); err != nil || fake.logins != 2 {
		t.Errorf("%d logins, %v", fake.logins, err)
	}
	if err := c.Close(t.Context()); err != nil || fake.logouts != 1 || len(fake.known) != 0 {
		t.Errorf("%d logouts, %v", fake.logouts, err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTokenIsRenewed before it expires.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	fake := &consul{known: map[string]bool{}, ttl: time.Millisecond}
	_, port := serving(t, fake, false)
	cfg := Config{Consul: settings(port)}
	cfg.Consul.Credentials = login(file(t, "the-bearer"))
	c := made(t, cfg)
	for range 2 {
		if _, err := c.API.Status().Leader(); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Millisecond)
	}
	if fake.logins != 2 || fake.logouts != 1 {
		t.Errorf("%d logins, %d logouts", fake.logins, fake.logouts)
	}
}

func TestLoginFails(t *testing.T) {
	t.Parallel()
	fake := &consul{known: map[string]bool{}}
	_, port := serving(t, fake, false)
	for name, tc := range map[string]struct{ path, says string }{
		"no bearer":    {"/does/not/exist", "log in to consul"},
		"wrong bearer": {file(t, "wrong-bearer"), "auth method podplane"},
	} {
		cfg := Config{Consul: settings(port)}
		cfg.Consul.Credentials = login(tc.path)
		_, err := made(t, cfg).API.Status().Leader()
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "wrong-bearer") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := Config{Consul: settings(port), TokenPath: "/does/not/exist"}
	if _, err := made(t, cfg).API.Status().Leader(); err == nil || !strings.Contains(err.Error(), "read consul token") {
		t.Error(err)
	}
	cfg.TokenPath = file(t, " \n")
	if _, err := made(t, cfg).API.Status().Leader(); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Error(err)
	}
}

// TestNextServer is used when one is away, also for a request with a body.
func TestNextServer(t *testing.T) {
	t.Parallel()
	fake := &consul{}
	_, port := serving(t, fake, false)
	cfg := Config{Consul: settings(port)}
	cfg.Consul.Addresses = "exec=echo 127.0.0.9 127.0.0.1" // nobody is on the first
	c := made(t, cfg)
	for range 2 {
		if _, err := c.API.Catalog().Register(&api.CatalogRegistration{Node: "n", Address: "127.0.0.1"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Consul.HTTPPort = 1
	if _, err := made(t, cfg).API.Status().Leader(); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	cfg.Consul.Addresses = "exec=false"
	if _, err := made(t, cfg).API.Status().Leader(); err == nil || !strings.Contains(err.Error(), "find consul servers") {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server, port := serving(t, &consul{}, true)
	ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	cfg := Config{Consul: settings(port)}
	cfg.Consul.TLS = config.ConsulTLS{CACertsPath: ca}
	if _, err := made(t, cfg).API.Status().Leader(); err != nil {
		t.Error(err)
	}
	rotated := made(t, cfg)
	if err := os.WriteFile(ca, []byte("gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := rotated.API.Status().Leader(); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("the file was not read again: %v", err)
	}
	cfg.Consul.TLS.CACertsPath = file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	cfg.Consul.TLS.ServerName = "other.example"
	if _, err := made(t, cfg).API.Status().Leader(); err == nil || !strings.Contains(err.Error(), "other.example") {
		t.Error(err)
	}
	cfg.Consul.TLS = config.ConsulTLS{InsecureSkipVerify: true, CertFile: "/does/not/exist", KeyFile: "x"}
	if _, err := made(t, cfg).API.Status().Leader(); err != nil {
		t.Errorf("a client certificate that nobody asks for: %v", err)
	}
	for path, says := range map[string]string{"/does/not/exist": "read consul's authorities", file(t, "x"): "holds no certificate"} {
		cfg.Consul.TLS = config.ConsulTLS{CACertsPath: path}
		if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for want, c := range map[int]config.CompanionConsul{
		8500: {TLS: config.ConsulTLS{Disabled: true}}, 8501: {}, 7: {HTTPPort: 7},
	} {
		if got := httpPort(c); got != want {
			t.Errorf("port %d, want %d", got, want)
		}
	}
}
