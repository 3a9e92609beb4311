// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestServerLost(t *testing.T) {
	t.Parallel()
	for name, watchDisabled := range map[string]bool{"watched": false, "not watched": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeConsul(t)
			c.start(t, "127.0.0.2")
			cfg := plain(c)
			cfg.Addresses = "exec=echo 127.0.0.1 127.0.0.2"
			cfg.ServerWatchDisabled = watchDisabled
			r := start(t, cfg)
			r.mustBeReady(t)
			changes, unsubscribe := r.Changes()
			defer unsubscribe()
			for range 4 {
				before := r.Status()
				ip, _, _ := strings.Cut(before.Server, ":")
				c.stop(ip)
				eventually(t, "another server", func() bool {
					st := r.Status()
					return st.Connected && st.Epoch > before.Epoch && st.Server != before.Server
				})
				<-changes
				eventually(t, "an answer", func() bool {
					_, err := r.ask(t.Context())
					return err == nil
				})
				c.start(t, ip)
			}
			if !strings.Contains(r.log.String(), "lost the consul server") {
				t.Error("no word of it in the log")
			}
		})
	}
}

// TestLostServerIsNotAsked: a question to a server that was lost fails at once,
// and does not spoil the first attempt at the next one.
func TestLostServerIsNotAsked(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	c.start(t, "127.0.0.2")
	cfg := plain(c)
	cfg.Addresses = "exec=echo 127.0.0.1 127.0.0.2"
	r := start(t, cfg, func(tune *tuning) { tune.retryFirst, tune.retryLimit = 200*time.Millisecond, time.Hour })
	r.mustBeReady(t)
	ip, _, _ := strings.Cut(r.Status().Server, ":")
	c.stop(ip)
	eventually(t, "the loss", func() bool { return !r.Status().Connected })
	for !r.Status().Connected { // what a client does that knows no pause
		_, err := r.ask(t.Context())
		if err != nil && status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
	}
	if out := r.log.String(); strings.Contains(out, "connection refused") {
		t.Errorf("the lost server was dialled:\n%s", out)
	}
}

func TestSwitchServer(t *testing.T) {
	t.Parallel()
	for name, watchDisabled := range map[string]bool{"watched": false, "not watched": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeConsul(t)
			c.start(t, "127.0.0.2")
			cfg := plain(c)
			cfg.Addresses = "exec=echo 127.0.0.1 127.0.0.2"
			cfg.ServerWatchDisabled = watchDisabled
			r := start(t, cfg)
			r.mustBeReady(t)
			stream := openStream(t, r)
			for range 3 {
				before := r.Status()
				r.SwitchServer("a test")
				eventually(t, "the other server", func() bool {
					st := r.Status()
					return st.Connected && st.Server != before.Server
				})
			}
			if err := drainStream(stream); status.Code(err) != codes.Unavailable {
				t.Errorf("stream at the server that was left: %v", err)
			}
		})
	}
}

func TestFrozenServer(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	c.start(t, "127.0.0.2")
	cfg := plain(c)
	cfg.Addresses = "exec=echo 127.0.0.1 127.0.0.2"
	r := start(t, cfg)
	r.mustBeReady(t)
	before := r.Status()
	ip, _, _ := strings.Cut(before.Server, ":")
	c.servers[ip].frozen.Lock()
	defer c.servers[ip].frozen.Unlock()
	eventually(t, "the other server", func() bool {
		st := r.Status()
		return st.Connected && st.Server != before.Server
	})
	if !strings.Contains(r.log.String(), "it does not answer") {
		t.Error("no reason in the log")
	}
}

func TestStalledAttempt(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	c.servers["127.0.0.1"].frozen.Lock()
	cfg := plain(c)
	r := start(t, cfg, func(tune *tuning) { tune.stallFirst = 50 * time.Millisecond })
	eventually(t, "a second attempt", func() bool {
		return strings.Count(r.log.String(), "trying to connect") > 1
	})
	c.servers["127.0.0.1"].frozen.Unlock()
	r.mustBeReady(t)
}

// unready is what a server says that has just started.
const unready = "ACL system must be bootstrapped before making any requests that require authorization: ACL not found"

// TestServerStarts: a server that has just started refuses nobody for good, not
// even a token that was given as it is.
func TestServerStarts(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.addToken("static")
	c.stop("127.0.0.1")
	c.startWith(t, "127.0.0.1", func(s *fakeServer) {
		s.lag = unready
		s.lagging.Store(6)
	})
	cfg := plain(c)
	cfg.Credentials = Credentials{Type: CredentialStatic, StaticToken: "static"}
	cfg.MaxRefusals = 2
	r := start(t, cfg)
	eventually(t, "a word about it", func() bool { return r.Status().Waiting == waitACLs })
	if st := r.Status(); st.Refused != nil {
		t.Errorf("counted as a refusal: %+v", st.Refused)
	}
	r.mustBeReady(t)
	if st := r.Status(); st.Waiting != "" {
		t.Errorf("still waiting for %s", st.Waiting)
	}
}

// TestServerCatchesUp: a server that has just started does not know the token
// yet, which is no reason to give the token up.
func TestServerCatchesUp(t *testing.T) {
	t.Parallel()
	for name, lag := range map[string]struct {
		requests int32
		answer   string
	}{
		"without its tokens": {2, "unauthenticated: ACL not found"},
		"without any ACLs":   {8, unready},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeConsul(t, withACLs)
			c.bearers["jwt"] = true
			cfg, _ := withLogin(t, c, "jwt")
			r := start(t, cfg)
			r.mustBeReady(t)
			before := r.Status()
			eventually(t, "an old token", func() bool { return time.Since(before.TokenSince) > r.tune.settle })
			c.stop("127.0.0.1")
			eventually(t, "the loss", func() bool { return !r.Status().Connected })
			s := c.startWith(t, "127.0.0.1", func(s *fakeServer) {
				s.lag = lag.answer
				s.lagging.Store(lag.requests)
			})
			eventually(t, "the server", func() bool { return r.Status().Connected })
			if st := r.Status(); st.TokenAccessor != before.TokenAccessor || c.loginCount() != 1 {
				t.Errorf("logged in anew: %+v", st)
			}
			if left := s.lagging.Load(); left >= 0 {
				t.Errorf("%d requests of the lag are left", left)
			}
		})
	}
}
