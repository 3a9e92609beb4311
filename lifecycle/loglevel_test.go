// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeLevels notes what is done to it.
type fakeLevels struct {
	mu     sync.Mutex
	done   []string
	broken bool
}

func (f *fakeLevels) note(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, what)
	if f.broken {
		return errors.New("envoy does not answer")
	}
	return nil
}

func (f *fakeLevels) Set(_ context.Context, level string) error { return f.note(level) }
func (f *fakeLevels) Reset(context.Context) error               { return f.note("reset") }

func (f *fakeLevels) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

func TestLogLevelRevertsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		levels := &fakeLevels{}
		l := NewLogLevel(levels, nil)
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- l.Run(ctx) }()
		for _, step := range []struct {
			level     string
			lasting   time.Duration
			then      time.Duration
			wantLevel string
			want      []string
		}{
			{"debug", time.Minute, 59 * time.Second, "debug", []string{"debug"}},
			{"trace", time.Minute, 59 * time.Second, "trace", []string{"debug", "trace"}}, // the first does not end the second
			{"error", time.Second, 2 * time.Second, "", []string{"debug", "trace", "error", "reset"}},
		} {
			if _, err := l.Override(ctx, step.level, step.lasting); err != nil {
				t.Fatal(err)
			}
			time.Sleep(step.then)
			synctest.Wait()
			if got := levels.all(); !slices.Equal(got, step.want) || l.State().Level != step.wantLevel {
				t.Errorf("after %s: %v, %+v; want %v", step.level, got, l.State(), step.want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestLogLevelIsResetAgainUntilItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		levels := &fakeLevels{broken: true}
		l := NewLogLevel(levels, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = l.Run(ctx) }()
		if _, err := l.Override(ctx, "debug", time.Second); err == nil {
			t.Error("no error")
		}
		time.Sleep(2*time.Second + resetPause)
		if got := levels.all(); !slices.Equal(got, []string{"debug", "reset", "reset"}) || l.State().Level != "debug" {
			t.Errorf("got %v, state %+v", got, l.State())
		}
		levels.mu.Lock()
		levels.broken = false
		levels.mu.Unlock()
		time.Sleep(time.Hour)
		if got := levels.all(); !slices.Equal(got, []string{"debug", "reset", "reset", "reset"}) || l.State().Level != "" {
			t.Errorf("got %v, state %+v", got, l.State())
		}
		cancel()
		synctest.Wait()
	})
}

// hungLevels answer nothing before the context ends.
type hungLevels struct{}

func (hungLevels) Set(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
func (hungLevels) Reset(ctx context.Context) error         { <-ctx.Done(); return ctx.Err() }

func TestLevelIsToldWhileItChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLogLevel(hungLevels{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		overridden := make(chan error, 1)
		go func() {
			_, err := l.Override(ctx, "debug", time.Minute)
			overridden <- err
		}()
		synctest.Wait()
		if got := l.State().Level; got != "debug" {
			t.Errorf("level is %q", got)
		}
		cancel()
		if err := <-overridden; err == nil {
			t.Error("no error")
		}
	})
}

func TestLogLevelEndpoint(t *testing.T) {
	t.Parallel()
	levels := &fakeLevels{}
	s := serve(t, func(_ *DrainConfig, c *ServerConfig) { c.LogLevel = NewLogLevel(levels, nil) })
	for name, tc := range map[string]struct {
		method, query string
		want          int
		says          string
	}{
		"level and time": {http.MethodPost, "level=debug&for=90s", http.StatusOK, `"debug"`},
		"GET":            {http.MethodGet, "level=debug", http.StatusMethodNotAllowed, "POST"},
		"no level":       {http.MethodPost, "", http.StatusBadRequest, "level must be"},
		"loud":           {http.MethodPost, "level=loud", http.StatusBadRequest, "level must be"},
		"no time":        {http.MethodPost, "level=debug&for=soon", http.StatusBadRequest, "for must be"},
		"negative":       {http.MethodPost, "level=debug&for=-1s", http.StatusBadRequest, "for must be"},
		"for ever":       {http.MethodPost, "level=debug&for=25h", http.StatusBadRequest, "for must be"},
	} {
		if got := s.do(t, tc.method, LogLevelPath+"?"+tc.query, nil); got.status != tc.want || !strings.Contains(got.body, tc.says) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := levels.all(); !slices.Equal(got, []string{"debug"}) {
		t.Errorf("levels were set: %v", got)
	}
	levels.mu.Lock()
	levels.broken = true
	levels.mu.Unlock()
	if got := s.do(t, http.MethodPost, LogLevelPath+"?level=info", nil); got.status != http.StatusBadGateway ||
		!strings.Contains(got.body, "envoy does not answer") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestInboundIsRefusedLater(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		drainTime, want time.Duration
	}{
		"a quarter of the grace period": {time.Hour, 5 * time.Second},
		"Envoy's drain time":            {2 * time.Second, 2 * time.Second},
		"at once":                       {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProxy()
				d := runDrainer(t, DrainConfig{Proxy: p, Grace: 20 * time.Second, DrainInbound: true, DrainTime: tc.drainTime})
				began := time.Now()
				d.Shutdown(bySignal)
				d.wait(t)
				if drains, _, _ := p.counts(); drains != 1 || p.refusals != 1 {
					t.Errorf("%d drains, %d refusals", drains, p.refusals)
				}
				if got := p.refused.Sub(began); got != tc.want {
					t.Errorf("refused after %s, want %s", got, tc.want)
				}
			})
		})
	}
}
