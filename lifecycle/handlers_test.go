// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestGracefulShutdownAnswersAtOnce(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			s.proxy.set(2)
			began := time.Now()
			a := s.do(t, method, "/graceful_shutdown", nil)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %s", took)
			}
			var got Shutdown
			a.into(t, &got)
			// The answer does not wait for long until the first look is done.
			for range 100 {
				if got.ActiveConnections == nil {
					s.do(t, method, "/graceful_shutdown", nil).into(t, &got)
				}
			}
			if a.status != http.StatusOK || got.State != Draining || got.Reason != "http: "+method+" /graceful_shutdown" ||
				got.ActiveConnections == nil || *got.ActiveConnections != 2 || time.Until(got.Deadline) > 20*time.Second {
				t.Errorf("answer is %+v", a)
			}
			s.proxy.set(0)
			<-s.drainer.Done()
		})
	}
}

func TestHungProxyDoesNotHoldTheAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.proxy.hangs = true
	var got struct {
		State             State
		ActiveConnections *int `json:"active_connections"`
	}
	a := s.do(t, http.MethodPost, "/graceful_shutdown", nil)
	a.into(t, &got)
	if got.State != Draining || got.ActiveConnections != nil || !strings.Contains(a.body, `"active_connections": null`) {
		t.Errorf("answer is %s", a.body)
	}
	s.drainer.Shutdown(Request{By: BySignal, Now: true})
	<-s.drainer.Done()
}

func TestHundredShutdowns(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.proxy.set(1)
	var clients sync.WaitGroup
	deadlines := make(chan time.Time, 100)
	for range 100 {
		clients.Go(func() {
			var got Shutdown
			s.do(t, http.MethodPost, "/graceful_shutdown", nil).into(t, &got)
			deadlines <- got.Deadline
		})
	}
	clients.Wait()
	close(deadlines)
	first := <-deadlines
	for d := range deadlines {
		if !d.Equal(first) {
			t.Fatalf("deadlines %s and %s: two shutdowns", first, d)
		}
	}
	s.proxy.set(0)
	<-s.drainer.Done()
	if _, stops, _ := s.proxy.counts(); stops != 1 {
		t.Errorf("%d stops", stops)
	}
}

func TestShutdownWait(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.proxy.set(1)
	time.AfterFunc(200*time.Millisecond, func() { s.proxy.set(0) })
	var got Shutdown
	s.do(t, http.MethodPost, "/graceful_shutdown?wait", nil).into(t, &got)
	if got.State != Stopped {
		t.Errorf("answer is %+v", got)
	}
}

func TestShutdownNow(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.proxy.set(1)
	if a := s.do(t, http.MethodGet, "/graceful_shutdown?now", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET ?now gave %d", a.status)
	}
	if got := s.drainer.State().State; got != Running {
		t.Fatalf("GET ?now began a shutdown: %s", got)
	}
	var got Shutdown
	s.do(t, http.MethodPost, "/graceful_shutdown?now&wait", nil).into(t, &got)
	if got.State != Stopped {
		t.Errorf("answer is %+v", got)
	}
}

func TestGracefulStartup(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*DrainConfig, *ServerConfig)
		during func(*served)
		want   string
	}{
		"live":          {nil, func(s *served) { close(s.live) }, "live"},
		"terminating":   {nil, func(s *served) { s.drainer.Shutdown(bySignal) }, "terminating"},
		"grace is over": {func(_ *DrainConfig, c *ServerConfig) { c.StartupGrace = 10 * time.Millisecond }, nil, "timeout"},
		"no grace":      {func(_ *DrainConfig, c *ServerConfig) { c.StartupGrace = 0 }, nil, "timeout"},
		"proxy stopped": {func(_ *DrainConfig, c *ServerConfig) {
			c.WaitLive = func(context.Context) error { return errors.New("stopped") }
		}, nil, "terminating"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tc.change)
			s.proxy.set(1)
			if tc.during != nil {
				time.AfterFunc(50*time.Millisecond, func() { tc.during(s) })
			}
			var got startup
			a := s.do(t, http.MethodGet, "/graceful_startup", nil)
			a.into(t, &got)
			if a.status != http.StatusOK || got.State != tc.want {
				t.Errorf("answer is %+v, want %s", a, tc.want)
			}
		})
	}
}

func TestReadyAndLive(t *testing.T) {
	t.Parallel()
	stuck := make(chan error, 1)
	s := serve(t, func(_ *DrainConfig, c *ServerConfig) {
		c.Alive = func(context.Context) error {
			select {
			case err := <-stuck:
				return err
			default:
				return nil
			}
		}
	})
	task := s.readiness.Add("consul session")
	task.Fail(errors.New("Envoy version not supported"))
	a := s.do(t, http.MethodGet, "/ready", nil)
	var state ReadyState
	a.into(t, &state)
	if a.status != http.StatusServiceUnavailable || len(state.Pending) != 1 ||
		state.Pending[0].LastError != "Envoy version not supported" {
		t.Errorf("answer is %+v", a)
	}
	task.Done()
	if a := s.do(t, http.MethodGet, "/ready", nil); a.status != http.StatusOK {
		t.Errorf("answer is %+v", a)
	}
	if a := s.do(t, http.MethodGet, "/live", nil); a.status != http.StatusOK {
		t.Errorf("answer is %+v", a)
	}
	stuck <- errors.New("supervisor does not move")
	if a := s.do(t, http.MethodGet, "/live", nil); a.status != http.StatusServiceUnavailable ||
		!strings.Contains(a.body, "supervisor does not move") {
		t.Errorf("answer is %+v", a)
	}
}
