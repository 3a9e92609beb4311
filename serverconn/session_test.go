// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"podplane/integration/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a session under test.
type running struct {
	*Session
	log    *logtest.Buffer
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// stop ends Run and gives its error. It may be called more than once.
func (r *running) stop() error {
	r.cancel()
	<-r.done
	return r.err
}

// start runs a session with times made for tests.
func start(t *testing.T, cfg Config, adjust ...func(*tuning)) *running {
	t.Helper()
	r := &running{log: &logtest.Buffer{}, done: make(chan struct{})}
	var err error
	r.Session, err = New(cfg, hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: r.log}))
	if err != nil {
		t.Fatal(err)
	}
	r.tune.retryFirst, r.tune.retryLimit, r.tune.loginLimit = 10*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	r.tune.crowdLimit, r.tune.retryReset, r.tune.crowdReset = 100*time.Millisecond, time.Second, time.Second
	r.tune.settle = 50 * time.Millisecond
	r.tune.probeInterval, r.tune.probeFloor = 100*time.Millisecond, time.Millisecond
	r.tune.unwatchedInterval = r.tune.probeInterval
	// What the machine may need is not what most tests are about.
	r.tune.probeTimeout, r.tune.serverTimeout, r.tune.turn = 20*time.Second, 20*time.Second, time.Second
	r.tune.logoutTimeout, r.tune.endTimeout, r.tune.endGrace = 20*time.Second, 20*time.Second, 20*time.Second
	r.tune.linger, r.tune.refusalGrace = 50*time.Millisecond, 100*time.Millisecond
	r.tune.filePoll, r.tune.fileSettle = time.Hour, 10*time.Millisecond
	for _, f := range adjust {
		f(&r.tune)
	}
	r.stall = backoff{first: r.tune.stallFirst, limit: r.tune.stallLimit}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(func() {
		_ = r.stop()
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

func (r *running) mustBeReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// awaitLists waits until the connection manager was told n times which servers
// there are. Before a server has told it, it asks that one, lost or not.
func (r *running) awaitLists(t *testing.T, n int) {
	t.Helper()
	eventually(t, "a list of servers", func() bool {
		return strings.Count(r.log.String(), "updated known Consul servers from watch stream") >= n
	})
}

// linkInUse is the session's link of the moment.
func (r *running) linkInUse() *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// plain is a configuration for a cluster without TLS.
func plain(c *fakeConsul) Config {
	return Config{Addresses: "127.0.0.1", GRPCPort: c.port, TLS: TLSConfig{Disabled: true}}
}

func (r *running) ask(ctx context.Context) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	return pbdataplane.NewDataplaneServiceClient(r.Conn()).
		GetEnvoyBootstrapParams(ctx, ProxyRef{ID: "web", NodeName: "n"}.request())
}

func TestSessionWithoutACLs(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	r := start(t, plain(c))
	r.mustBeReady(t)
	if _, err := r.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := r.Status()
	if !st.Connected || st.Epoch != 1 || !strings.HasPrefix(st.Server, "127.0.0.1:") || st.Waiting != "" {
		t.Errorf("status %+v", st)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if st := r.Status(); st.Connected {
		t.Errorf("connected after the end: %+v", st)
	}
	if _, err := r.ask(t.Context()); status.Code(err) != codes.Unavailable {
		t.Errorf("call after the end: %v", err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, errRunTwice) {
		t.Errorf("second Run: %v", err)
	}
}

func TestTokenIsOverwritten(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.addToken("right")
	cfg := plain(c)
	cfg.Credentials = Credentials{Type: CredentialStatic, StaticToken: "right"}
	r := start(t, cfg)
	r.mustBeReady(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), tokenKey, "wrong", "x-other", "kept")
	if _, err := r.ask(ctx); err != nil {
		t.Fatal(err)
	}
	c.do(func() {
		if got := c.asked.Get("x-other"); len(got) != 1 || got[0] != "kept" {
			t.Errorf("x-other: %q", got)
		}
		if got := c.asked.Get(tokenKey); len(got) != 1 || got[0] != "right" {
			t.Errorf("tokens sent: %q", got)
		}
	})
	if st := r.Status(); st.TokenSince.IsZero() || st.TokenAccessor != "" {
		t.Errorf("status %+v", st)
	}
}

func TestRefusedStaticToken(t *testing.T) {
	t.Parallel()
	t.Run("ends after the limit", func(t *testing.T) {
		t.Parallel()
		cfg := plain(newFakeConsul(t, withACLs))
		cfg.Credentials = Credentials{Type: CredentialStatic, StaticToken: "unknown-secret"}
		cfg.MaxRefusals = 3
		r := start(t, cfg)
		<-r.done
		var refused *RefusedError
		if !errors.As(r.err, &refused) || !errors.Is(r.err, ErrRefused) || !strings.Contains(refused.Message, "ACL not found") {
			t.Errorf("error %v", r.err)
		}
		if strings.Contains(r.log.String(), "unknown-secret") {
			t.Error("the token is in the log")
		}
	})
	t.Run("goes on without one, until it is known", func(t *testing.T) {
		t.Parallel()
		c := newFakeConsul(t, withACLs)
		cfg := plain(c)
		cfg.Credentials = Credentials{Type: CredentialStatic, StaticToken: "unknown-secret"}
		r := start(t, cfg)
		eventually(t, "refusals", func() bool {
			st := r.Status()
			return st.Refused != nil && st.Refused.Count > 5
		})
		c.addToken("unknown-secret")
		r.mustBeReady(t)
		if st := r.Status(); st.Refused != nil {
			t.Errorf("still refused: %+v", st.Refused)
		}
	})
}

// TestTolerate: who has told that there is something to lose is not ended.
func TestTolerate(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.stop("127.0.0.1")
	cfg := plain(c)
	cfg.Credentials = Credentials{Type: CredentialStatic, StaticToken: "unknown-secret"}
	cfg.MaxRefusals = 2
	r := start(t, cfg)
	r.Tolerate()
	c.start(t, "127.0.0.1")
	eventually(t, "more refusals than the limit", func() bool {
		st := r.Status()
		return st.Refused != nil && st.Refused.Count > 2*cfg.MaxRefusals
	})
	c.addToken("unknown-secret")
	r.mustBeReady(t)
}

func TestWaitsForServer(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	c.stop("127.0.0.1")
	r := start(t, plain(c))
	eventually(t, "a word about it", func() bool {
		return strings.Contains(r.Status().LastError, "connection refused")
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("WaitReady: %v", err)
	}
	if n := strings.Count(r.log.String(), "[WARN]"); n != 1 {
		t.Errorf("%d warnings for one wait", n)
	}
	c.start(t, "127.0.0.1")
	r.mustBeReady(t)
}

func TestServerTooOld(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	c.do(func() { c.features = nil })
	r := start(t, plain(c))
	eventually(t, "a word about it", func() bool {
		return strings.Contains(r.Status().LastError, "too old")
	})
}
