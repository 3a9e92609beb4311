// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlainClusterServesTheMesh(t *testing.T) {
	t.Parallel()
	c := New(t, Options{})
	ctx, client := t.Context(), c.Client()

	api := Service{Name: "api", Port: 9090, ProxyPort: 20001}
	web := Service{
		Name: "web", ProxyPort: 20000,
		Upstreams: []Upstream{{DestinationName: "api", LocalBindPort: 9191}},
	}
	for _, s := range []Service{api, web} {
		if err := client.Register(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"api": 9090, "api-sidecar-proxy": 20001, "web-sidecar-proxy": 20000} {
		got, err := client.Instances(ctx, name)
		if err != nil || len(got) != 1 || got[0].ServicePort != want || got[0].Node != SyntheticNode {
			t.Errorf("instances of %s: %+v, %v; want one on port %d", name, got, err, want)
		}
	}

	api.Status = Critical
	if err := client.Register(ctx, api); err != nil {
		t.Fatal(err)
	}
	if n, err := client.HealthyInstances(ctx, "api"); n != 0 || err != nil {
		t.Errorf("healthy instances of a critical service: %d, %v; want 0", n, err)
	}
	if err := client.Deregister(ctx, api); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Instances(ctx, "api"); len(got) != 0 || err != nil {
		t.Errorf("instances after deregistration: %+v, %v; want none", got, err)
	}
	testSettings(t, client)
}

func testSettings(t *testing.T, client *Client) {
	t.Helper()
	ctx := t.Context()
	if err := client.SetProxyDefaults(ctx, map[string]any{"protocol": "http"}); err != nil {
		t.Error(err)
	}
	if err := client.SetProtocol(ctx, "api", "http"); err != nil {
		t.Error(err)
	}
	if err := client.SetIntention(ctx, "web", "api", Deny); err != nil {
		t.Fatal(err)
	}
	allowed := func() (out struct{ Allowed bool }) {
		t.Helper()
		if err := client.Get(ctx, "/v1/connect/intentions/check?source=web&destination=api", &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if allowed().Allowed {
		t.Error("web may reach api although it is denied")
	}
	if err := client.DeleteIntention(ctx, "web", "api"); err != nil {
		t.Fatal(err)
	}
	if !allowed().Allowed {
		t.Error("web may not reach api although the deny intention is gone")
	}
	if err := client.DeleteConfigEntry(ctx, "service-defaults", "api"); err != nil {
		t.Error(err)
	}
	var status *StatusError
	err := client.Get(ctx, "/v1/config/service-defaults/api", nil)
	if !errors.As(err, &status) || status.Code != http.StatusNotFound {
		t.Errorf("deleted config entry: %v; want HTTP 404", err)
	}
}

func TestClusterWithTLSAndLogin(t *testing.T) {
	t.Parallel()
	c := New(t, Options{TLS: true, JWT: true, TokenTTL: time.Minute})
	ctx := t.Context()

	handshake(t, c)

	anonymous := c.ClientAt(0, "")
	var status *StatusError
	if err := anonymous.Register(ctx, Service{Name: "web", ProxyPort: 1}); !errors.As(err, &status) || status.Code != http.StatusForbidden {
		t.Errorf("register without a token: %v; want HTTP 403", err)
	}
	bearer, err := c.Bearer("web", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	token, err := anonymous.Login(ctx, AuthMethod, bearer)
	if err != nil {
		t.Fatal(err)
	}
	if token.SecretID == "" || token.ExpirationTime == nil {
		t.Errorf("token from login: %+v; want a secret and an expiry", token)
	}
	if tokens, err := c.Client().AuthMethodTokens(ctx, AuthMethod); len(tokens) != 1 || err != nil {
		t.Errorf("tokens of the auth method: %+v, %v; want one", tokens, err)
	}
	holder := c.ClientAt(0, token.SecretID)
	if err := holder.Register(ctx, Service{Name: "api", ProxyPort: 1}); !errors.As(err, &status) {
		t.Errorf("register another service: %v; want a refusal", err)
	}
	if err := holder.Logout(ctx); err != nil {
		t.Error(err)
	}
	if tokens, err := c.Client().AuthMethodTokens(ctx, AuthMethod); len(tokens) != 0 || err != nil {
		t.Errorf("tokens after logout: %+v, %v; want none", tokens, err)
	}
	testBadLogins(t, c, bearer)

	service, err := c.Client().CreateServiceToken(ctx, "web")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Client().DeleteToken(ctx, service.AccessorID); err != nil {
		t.Error(err)
	}
}

func testBadLogins(t *testing.T, c *Cluster, bearer string) {
	t.Helper()
	ctx, anonymous := t.Context(), c.ClientAt(0, "")
	expired, err := c.Bearer("web", -time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := anonymous.Login(ctx, AuthMethod, expired); err == nil {
		t.Errorf("login with an expired bearer token: %+v; want a refusal", token)
	}
	method, err := c.JWTAuthMethod()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Client().DeleteAuthMethod(ctx, AuthMethod); err != nil {
		t.Fatal(err)
	}
	if token, err := anonymous.Login(ctx, AuthMethod, bearer); err == nil {
		t.Errorf("login without auth method: %+v; want a refusal", token)
	}
	if err := c.Client().CreateJWTAuthMethod(ctx, method); err != nil {
		t.Fatal(err)
	}
	if _, err := anonymous.Login(ctx, AuthMethod, bearer); err != nil {
		t.Errorf("login after the auth method came back: %v", err)
	}
}

// handshake proves that gRPC is served over TLS by a certificate of the cluster's CA.
func handshake(t *testing.T, c *Cluster) {
	t.Helper()
	pem, err := os.ReadFile(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, name := range []string{ServerName, "127.0.0.1"} {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2"}}}
		conn, err := dialer.DialContext(t.Context(), "tcp", c.GRPCAddr(0))
		if err != nil {
			t.Fatalf("TLS as %s: %v", name, err)
		}
		_ = conn.Close()
	}
	other, err := NewCA("somebody else")
	if err != nil {
		t.Fatal(err)
	}
	wrong := x509.NewCertPool()
	wrong.AppendCertsFromPEM(other.PEM())
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: wrong, ServerName: ServerName}}
	if conn, err := dialer.DialContext(t.Context(), "tcp", c.GRPCAddr(0)); err == nil {
		_ = conn.Close()
		t.Error("TLS with another CA succeeded")
	}
}

func TestThreeServersSurviveLosses(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Servers: 3})
	ctx := t.Context()

	if got, want := c.Discovery(), "exec=echo 127.0.0.1 127.0.0.2 127.0.0.3"; got != want {
		t.Errorf("discovery: %q, want %q", got, want)
	}
	c.Kill(0)
	if c.servers[0].running() {
		t.Error("server 0 runs although it was killed")
	}
	// The others elect a leader and take a write.
	within(t, 30*time.Second, func(ctx context.Context) error {
		return c.ClientAt(1, "").SetProtocol(ctx, "api", "http")
	})
	if err := c.Restart(ctx, 0); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, func(ctx context.Context) error {
		return c.ClientAt(0, "").Get(ctx, "/v1/config/service-defaults/api", nil)
	})

	if err := c.Pause(2); err != nil {
		t.Fatal(err)
	}
	frozen, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := c.ClientAt(2, "").Get(frozen, "/v1/status/leader", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("paused server: %v, want a deadline", err)
	}
	if err := c.Resume(2); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, func(ctx context.Context) error {
		return c.ClientAt(2, "").Get(ctx, "/v1/status/leader", nil)
	})
	if err := c.Stop(1); err != nil {
		t.Fatal(err)
	}
	if c.servers[1].running() {
		t.Error("server 1 runs although it was stopped")
	}
}

func within(t *testing.T, limit time.Duration, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := poll(ctx, try); err != nil {
		t.Fatal(err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	c, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.LogTail(), "server-0") {
		t.Error("the log's tail does not name the server")
	}
	if _, err := os.Stat(c.LogFile(0)); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder after Close: %v", err)
	}
	for _, address := range []string{c.HTTPAddr(0), c.GRPCAddr(0), c.DNSAddr(0)} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s still answers after Close", address)
		}
	}
}

func TestStartErrors(t *testing.T) {
	tests := map[string]struct {
		opts Options
		env  string
		want string
	}{
		"too many servers": {opts: Options{Servers: 4}, want: "want 1 to 3"},
		"not executable":   {env: "/dev/null", want: "permission denied"},
		"ends at once":     {env: "/bin/false", want: "server ended"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.env != "" {
				t.Setenv("PODPLANE_TEST_CONSUL", tt.env)
			}
			c, err := Start(t.Context(), tt.opts)
			if err == nil {
				_ = c.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
}
