// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// served is a server with its drainer, both running.
type served struct {
	*Server
	drainer   *Drainer
	readiness *Readiness
	proxy     *fakeProxy
	url       string
	live      chan struct{} // closed: the proxy is LIVE
	client    *http.Client
}

// serve runs a server on a free port until the test ends.
func serve(t *testing.T, change func(*DrainConfig, *ServerConfig)) *served {
	t.Helper()
	s := &served{
		proxy: newFakeProxy(), readiness: &Readiness{}, live: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	drainCfg := DrainConfig{Proxy: s.proxy, Readiness: s.readiness, Grace: 20 * time.Second}
	cfg := ServerConfig{
		Readiness:    s.readiness,
		StartupGrace: 20 * time.Second,
		WaitLive: func(ctx context.Context) error {
			select {
			case <-s.live:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
	if change != nil {
		change(&drainCfg, &cfg)
	}
	var err error
	if s.drainer, err = NewDrainer(drainCfg, nil); err != nil {
		t.Fatal(err)
	}
	cfg.Drainer = s.drainer
	if s.Server, err = NewServer(cfg, nil); err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + s.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	running.Go(func() { _ = s.drainer.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return s
}

// answer is what a client sees.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *served) do(t *testing.T, method, path string, header map[string]string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		if k == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v in %q", err, a.body)
	}
}

func TestNewServerRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	d, err := NewDrainer(DrainConfig{Proxy: newFakeProxy()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := ServerConfig{Drainer: d, Readiness: &Readiness{}, WaitLive: func(context.Context) error { return nil }}
	for want, change := range map[string]func(*ServerConfig){
		"needs a drainer":        func(c *ServerConfig) { c.Drainer = nil },
		"address already in use": func(c *ServerConfig) { c.Port = taken.Addr().(*net.TCPAddr).Port },
		`"bye" is not a path`:    func(c *ServerConfig) { c.ShutdownPath = "bye" },
		`"/x?y" is not a path`:   func(c *ServerConfig) { c.StartupPath = "/x?y" },
		`have the path "/live"`:  func(c *ServerConfig) { c.StartupPath = "/live" },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewServer(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}

func TestServerThatIsNotRun(t *testing.T) {
	t.Parallel()
	d, err := NewDrainer(DrainConfig{Proxy: newFakeProxy()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(ServerConfig{Drainer: d, Readiness: &Readiness{},
		WaitLive: func(context.Context) error { return nil }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("a closed server ran")
	}
}

func TestEndCutsOffHeldAnswers(t *testing.T) {
	t.Parallel()
	d, err := NewDrainer(DrainConfig{Proxy: newFakeProxy()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	held, released := make(chan struct{}), make(chan struct{})
	s, err := NewServer(ServerConfig{
		Drainer: d, Readiness: &Readiness{}, StartupGrace: time.Hour,
		WaitLive: func(ctx context.Context) error {
			close(held)
			<-ctx.Done()
			close(released)
			return ctx.Err()
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "GET /graceful_startup HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-held
	cancel()
	began := time.Now()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < closeTimeout || took > 100*closeTimeout {
		t.Errorf("the end took %s", took)
	}
	<-released
}
