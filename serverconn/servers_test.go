// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
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
	r := start(t, cfg, func(tune *tuning) {
		tune.retryFirst, tune.retryLimit = 200*time.Millisecond, time.Hour
		tune.probeInterval = time.Hour // no question of the session's own
	})
	r.mustBeReady(t)
	r.awaitLists(t, 1)
	ip, _, _ := strings.Cut(r.Status().Server, ":")
	c.stop(ip)
	eventually(t, "the loss", func() bool { return !r.Status().Connected })
	for begun := time.Now(); !r.Status().Connected; { // what a client does that knows no pause
		_, err := r.ask(t.Context())
		if err != nil && status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		if time.Since(begun) > patience {
			t.Fatal("no other server")
		}
	}
	if out := r.log.String(); strings.Contains(out, "connection refused") {
		t.Errorf("the lost server was dialled:\n%s", out)
	}
}

// TestDialledBeforeTheNews: a question that comes before the news that its server
// is lost may spoil the first attempt at the next one, which is made up for.
func TestDialledBeforeTheNews(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	c.start(t, "127.0.0.2")
	c.start(t, "127.0.0.3")
	cfg := plain(c)
	cfg.Addresses = "exec=echo 127.0.0.1 127.0.0.2 127.0.0.3"
	r := start(t, cfg, func(tune *tuning) {
		// The pause after the loss is when the server is dialled below.
		tune.retryFirst, tune.retryLimit = time.Second, time.Hour
		tune.probeInterval = time.Hour
	})
	r.mustBeReady(t)
	for round := range 2 {
		r.awaitLists(t, round+1)
		before := r.Status()
		conn := r.connOf(r.linkInUse())
		ip, _, _ := strings.Cut(before.Server, ":")
		c.stop(ip)
		back := func() bool { return r.Status().Connected && r.Status().Epoch > before.Epoch }
		eventually(t, "the lost server dialled", func() bool {
			_ = askFeatures(t.Context(), conn)
			return conn.GetState() == connectivity.TransientFailure || back()
		})
		eventually(t, "another server", back)
		// In the second round there is no third server to try.
		if out := r.log.String(); round == 0 && strings.Contains(out, "waiting:") {
			t.Errorf("it was waited after the spoilt attempt:\n%s", out)
		}
		c.start(t, ip)
	}
}

// TestSpoiltAttempt: which attempts are spoilt, and that only they are followed by
// the next without a pause.
func TestSpoiltAttempt(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	c.stop("127.0.0.1")
	conn, err := grpc.NewClient(passthrough+"127.0.0.1:"+strconv.Itoa(c.port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	unavailable := status.Error(codes.Unavailable, "connection refused")
	cases := map[string]struct {
		lost   bool
		conn   *grpc.ClientConn
		err    error
		spoilt bool
	}{
		"the first of all":     {false, nil, unavailable, false},
		"after a failure":      {false, conn, unavailable, false},
		"after a loss":         {true, conn, unavailable, true},
		"with another outcome": {true, conn, status.Error(codes.Unauthenticated, "ACL not found"), false},
	}
	conn.Connect()
	s, err := New(plain(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range cases {
		// A link that is closing does not pause, but counts the pause.
		l := &link{session: s, lost: test.lost, conn: test.conn, closing: make(chan struct{}), retry: backoff{first: time.Hour}}
		close(l.closing)
		eventually(t, "a connection that failed", func() bool {
			l.trying()
			return l.spoilt || !test.lost
		})
		l.failed(test.err)
		if l.spoilt || l.lost || (l.retry.next == 0) != test.spoilt {
			t.Errorf("%s: %+v", name, l)
		}
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
	r := start(t, cfg, func(tune *tuning) { tune.probeTimeout = 500 * time.Millisecond })
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
