// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbserverdiscovery"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

// withLogin is a configuration whose bearer token is in a file, which it makes.
func withLogin(t *testing.T, c *fakeConsul, bearer string) (cfg Config, bearerFile string) {
	t.Helper()
	bearerFile = filepath.Join(t.TempDir(), "bearer")
	writeFile(t, bearerFile, bearer+"\n")
	cfg = plain(c)
	cfg.Credentials = Credentials{Type: CredentialLogin, Login: LoginConfig{
		AuthMethod: "k8s", Namespace: "ns", Partition: "ap", Datacenter: "dc", BearerTokenPath: bearerFile,
		Meta: map[string]string{"pod": "ns/web"},
	}}
	return cfg, bearerFile
}

func TestLoginAndLogout(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	cfg.Registerer = prometheus.NewRegistry()
	r := start(t, cfg)
	r.mustBeReady(t)
	st := r.Status()
	if st.TokenAccessor != "accessor-1" || st.TokenSince.IsZero() {
		t.Errorf("status %+v", st)
	}
	login := c.logins[0]
	if login.AuthMethod != "k8s" || login.Namespace != "ns" || login.Partition != "ap" || login.Datacenter != "dc" ||
		login.BearerToken != "jwt" || login.Meta["pod"] != "ns/web" {
		t.Errorf("login %+v", login)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(c.logouts, []string{"secret-1"}) || len(c.liveTokens()) != 0 {
		t.Errorf("logouts %q, left %q", c.logouts, c.liveTokens())
	}
	for _, secret := range []string{"secret-1", "jwt"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

func TestTokenLost(t *testing.T) {
	t.Parallel()
	for name, watchDisabled := range map[string]bool{"watched": false, "not watched": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeConsul(t, withACLs)
			c.bearers["old"], c.bearers["new"] = true, true
			cfg, bearerFile := withLogin(t, c, "old")
			cfg.ServerWatchDisabled = watchDisabled
			r := start(t, cfg)
			r.mustBeReady(t)
			writeFile(t, bearerFile, "new")
			for range 3 {
				before := r.Status()
				tokens := c.liveTokens()
				// A younger token would be given time to be replicated.
				eventually(t, "an old token", func() bool { return time.Since(before.TokenSince) > r.tune.settle })
				c.deleteToken(tokens[0])
				eventually(t, "a new token", func() bool {
					st := r.Status()
					return st.Connected && st.TokenAccessor != before.TokenAccessor
				})
				if _, err := r.ask(t.Context()); err != nil {
					t.Error(err)
				}
			}
			c.do(func() {
				if got := c.logins[len(c.logins)-1].BearerToken; got != "new" {
					t.Errorf("bearer token %q is not the file's", got)
				}
			})
			_ = r.stop()
			if left := c.liveTokens(); len(left) != 0 {
				t.Errorf("tokens left: %q", left)
			}
		})
	}
}

func TestRenewToken(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	r := start(t, cfg)
	r.mustBeReady(t)
	stream := openStream(t, r)
	r.RenewToken("permission denied on what used to work")
	eventually(t, "a new token", func() bool { return r.Status().TokenAccessor == "accessor-2" })
	if err := drainStream(stream); status.Code(err) != codes.Unavailable {
		t.Errorf("stream of the old token: %v", err)
	}
	eventually(t, "the old token logged out", func() bool { return slices.Equal(c.liveTokens(), []string{"secret-2"}) })
}

func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	t.Run("ends after the limit", func(t *testing.T) {
		t.Parallel()
		c := newFakeConsul(t, withACLs)
		cfg, _ := withLogin(t, c, "forged")
		cfg.MaxRefusals = 3
		r := start(t, cfg)
		<-r.done
		if r.err == nil || !strings.Contains(r.err.Error(), "invalid bearer token") || !strings.Contains(r.err.Error(), "k8s") {
			t.Errorf("error %v", r.err)
		}
		if n := c.loginCount(); n != 3 {
			t.Errorf("%d logins", n)
		}
	})
	t.Run("heals with the bearer file, at once", func(t *testing.T) {
		t.Parallel()
		c := newFakeConsul(t, withACLs)
		c.bearers["good"] = true
		cfg, bearerFile := withLogin(t, c, "forged")
		r := start(t, cfg, func(tune *tuning) { tune.loginLimit, tune.retryFirst = time.Hour, time.Hour })
		eventually(t, "a refusal", func() bool { return r.Status().Refused != nil })
		writeFile(t, bearerFile, "good")
		r.mustBeReady(t)
	})
	t.Run("is retried when servers are away", func(t *testing.T) {
		t.Parallel()
		c := newFakeConsul(t, withACLs)
		c.bearers["jwt"] = true
		c.stop("127.0.0.1")
		cfg, _ := withLogin(t, c, "jwt")
		cfg.MaxRefusals = 1
		r := start(t, cfg)
		eventually(t, "a word about it", func() bool { return strings.Contains(r.Status().LastError, "connection refused") })
		if st := r.Status(); !strings.Contains(st.Waiting, "auth method k8s") {
			t.Errorf("waiting for %q", st.Waiting)
		}
		c.start(t, "127.0.0.1")
		r.mustBeReady(t)
	})
}

// A token that was given while the session ended must not be left behind.
func TestEndDuringLogin(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	server := c.servers["127.0.0.1"]
	server.frozen.Lock()
	r := start(t, cfg)
	eventually(t, "login under way", func() bool { return server.waiting.Load() > 0 })
	r.cancel()
	server.frozen.Unlock()
	<-r.done
	if r.err != nil {
		t.Error(r.err)
	}
	if left := c.liveTokens(); len(left) != 0 || c.loginCount() != 1 {
		t.Errorf("tokens left: %q of %d", left, c.loginCount())
	}
}

func TestStaticTokenFile(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.addToken("first")
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "first\n")
	cfg := plain(c)
	cfg.Credentials = Credentials{Type: CredentialStatic, StaticTokenPath: file}
	r := start(t, cfg)
	r.mustBeReady(t)

	writeFile(t, file, "\n")
	eventually(t, "the empty file refused", func() bool { return strings.Contains(r.Status().ReloadError, file) })
	if _, err := r.ask(t.Context()); err != nil {
		t.Error(err)
	}
	writeFile(t, file, "second")
	eventually(t, "the new token refused", func() bool { return r.Status().Refused != nil })
	if st := r.Status(); !st.Connected || st.Epoch != 1 {
		t.Errorf("the old token was given up: %+v", st)
	}
	c.addToken("second")
	eventually(t, "the new token in use", func() bool { return r.Status().Epoch == 2 })
	if _, err := r.ask(t.Context()); err != nil {
		t.Error(err)
	}
	c.do(func() {
		if got := c.asked.Get(tokenKey); !slices.Equal(got, []string{"second"}) {
			t.Errorf("token sent: %q", got)
		}
	})
	if st := r.Status(); st.ReloadError != "" || st.Refused != nil || st.Waiting != "" {
		t.Errorf("status %+v", st)
	}
}

// TestPermissionsLost: a stream that is denied what it used to be permitted
// brings a login, and one that never was permitted does not.
func TestPermissionsLost(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	cfg.ServerWatchDisabled = true // the session's own stream is none that is denied
	r := start(t, cfg, func(tune *tuning) { tune.deniedFirst, tune.deniedLimit = time.Hour, time.Hour })
	r.mustBeReady(t)
	c.deny("secret-1")
	if err := deniedStream(t, r); status.Code(err) != codes.PermissionDenied || c.loginCount() != 1 {
		t.Fatalf("%d logins, stream: %v", c.loginCount(), err)
	}
	c.do(func() { clear(c.denies) })
	stream := openStream(t, r)
	c.deny("secret-1")
	_ = drainStream(stream)
	eventually(t, "a login", func() bool { return r.Status().TokenAccessor == "accessor-2" })
	stream = openStream(t, r)
	c.deny("secret-2")
	_ = drainStream(stream)
	eventually(t, "another login", func() bool { return r.Status().TokenAccessor == "accessor-3" })
	c.deny("secret-3") // no login has helped so far: the next one has to wait
	_ = deniedStream(t, r)
	_ = deniedStream(t, r)
	if n := c.loginCount(); n != 3 {
		t.Errorf("%d logins", n)
	}
}

// deniedStream opens a stream and gives the error with which it ends.
func deniedStream(t *testing.T, r *running) error {
	t.Helper()
	stream, err := pbserverdiscovery.NewServerDiscoveryServiceClient(r.Conn()).
		WatchServers(t.Context(), &pbserverdiscovery.WatchServersRequest{})
	if err != nil {
		return err
	}
	return drainStream(stream)
}
