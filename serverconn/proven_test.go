// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestUnprovenTLS: a TLS setting that loads and does not work is in the way of
// nothing: not of the server's return, nor of logins, nor of the logout.
func TestUnprovenTLS(t *testing.T) {
	t.Parallel()
	for name, watchDisabled := range map[string]bool{"watched": false, "not watched": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, next := newAuthority(t), newAuthority(t)
			var config atomic.Pointer[tls.Config]
			config.Store(serverTLS(old.pair()))
			c := newFakeConsul(t, serving(&config), withACLs)
			c.bearers["jwt"] = true
			cfg, _ := withLogin(t, c, "jwt")
			cfg.ServerWatchDisabled = watchDisabled
			cfg.TLS = TLSConfig{CAPath: filepath.Join(t.TempDir(), "ca.pem")}
			writeFile(t, cfg.TLS.CAPath, old.pem())
			r := start(t, cfg)
			r.mustBeReady(t)

			writeFile(t, cfg.TLS.CAPath, next.pem())
			r.awaitTrial(t)
			epoch := r.Status().Epoch
			c.stop("127.0.0.1")
			eventually(t, "the loss", func() bool { return !r.Status().Connected })
			c.start(t, "127.0.0.1")
			eventually(t, "the server's return", func() bool { return r.Status().Connected && r.Status().Epoch > epoch })

			r.awaitTrial(t)
			r.RenewToken("a test")
			r.awaitToken(t, "accessor-2")

			r.awaitTrial(t)
			eventually(t, "an old token", func() bool { return time.Since(r.Status().TokenSince) > r.tune.settle })
			c.deleteToken("secret-2")
			r.awaitToken(t, "accessor-3")

			epoch = r.Status().Epoch
			config.Store(serverTLS(next.pair()))
			eventually(t, "the new setting in use", func() bool { return r.Status().Connected && r.Status().Epoch > epoch })
			if got := r.Status().TokenAccessor; got != "accessor-3" {
				t.Errorf("the token was given up for it: %s", got)
			}
			_ = r.stop()
			if left := c.liveTokens(); len(left) != 0 {
				t.Errorf("tokens left: %q", left)
			}
		})
	}
}

// TestLogoutWithTheProvenTLS: without a link to log out over, it is the proven
// setting that the servers are asked with.
func TestLogoutWithTheProvenTLS(t *testing.T) {
	t.Parallel()
	old, next := newAuthority(t), newAuthority(t)
	var config atomic.Pointer[tls.Config]
	config.Store(serverTLS(old.pair()))
	c := newFakeConsul(t, serving(&config), withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	cfg.TLS = TLSConfig{CAPath: filepath.Join(t.TempDir(), "ca.pem")}
	writeFile(t, cfg.TLS.CAPath, old.pem())
	r := start(t, cfg, func(tune *tuning) { tune.retryFirst, tune.retryReset = time.Hour, time.Hour })
	r.mustBeReady(t)
	writeFile(t, cfg.TLS.CAPath, next.pem())
	r.awaitTrial(t)
	c.stop("127.0.0.1")
	eventually(t, "the loss", func() bool { return !r.Status().Connected })
	c.start(t, "127.0.0.1")
	_ = r.stop()
	if !slices.Equal(c.logouts, []string{"secret-1"}) {
		t.Errorf("logouts: %q", c.logouts)
	}
}

// TestUnprovenStaticToken: a new token that is not known does not keep the
// session from coming back with the one that is.
func TestUnprovenStaticToken(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.addToken("first")
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "first")
	cfg := plain(c)
	cfg.ServerWatchDisabled = true
	cfg.Credentials = Credentials{Type: CredentialStatic, StaticTokenPath: file}
	r := start(t, cfg)
	r.mustBeReady(t)
	writeFile(t, file, "second")
	eventually(t, "the new token refused", func() bool { return r.Status().Refused != nil })
	c.stop("127.0.0.1")
	eventually(t, "the loss", func() bool { return !r.Status().Connected })
	c.start(t, "127.0.0.1")
	eventually(t, "the server's return", func() bool { return r.Status().Connected })
	c.addToken("second")
	eventually(t, "the new token", func() bool {
		_, err := r.ask(t.Context())
		c.mu.Lock()
		defer c.mu.Unlock()
		return err == nil && slices.Equal(c.asked.Get(tokenKey), []string{"second"})
	})
}

// TestRenewalInTheWay: a login that is wished for, and refused, does not keep the
// session from coming back with the token that it has.
func TestRenewalInTheWay(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	cfg.ServerWatchDisabled = true
	r := start(t, cfg)
	r.mustBeReady(t)
	c.do(func() { c.loginErr = status.Error(codes.PermissionDenied, "auth method is gone") })
	r.RenewToken("a test")
	eventually(t, "a refusal", func() bool { return c.loginCount() > 1 })
	c.stop("127.0.0.1")
	eventually(t, "the loss", func() bool { return !r.Status().Connected })
	c.start(t, "127.0.0.1")
	eventually(t, "the server's return", func() bool { return r.Status().Connected })
	if got := r.Status().TokenAccessor; got != "accessor-1" {
		t.Errorf("token %s", got)
	}
}

// awaitTrial waits until a setting that does not work is being tried.
func (r *running) awaitTrial(t *testing.T) {
	t.Helper()
	since := time.Now()
	eventually(t, "a trial of the new setting", func() bool {
		st := r.Status()
		return st.LastErrorAt.After(since) && strings.Contains(st.LastError, "not from a trusted authority")
	})
}

// awaitToken waits until a token is in use.
func (r *running) awaitToken(t *testing.T, accessor string) {
	t.Helper()
	eventually(t, accessor+" in use", func() bool {
		st := r.Status()
		return st.Connected && st.TokenAccessor == accessor
	})
}
