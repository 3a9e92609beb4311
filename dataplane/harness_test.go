// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/config"
	"podplane/integration/logtest"
	"podplane/lifecycle"
)

const (
	// patience is how long anything may take that has to come.
	patience = time.Minute
	// promptly is how long an end may take that nothing is waited for with. It is
	// meant to be well under a second. What must not happen instead takes 3 s or
	// more: a deadline of a call.
	promptly = 2 * time.Second
	// promptlyStarts is how many starts of a process may fit into an end on a
	// machine with so much other work that promptly is too short.
	promptlyStarts = 20
)

var loopbacks atomic.Int32

// loopback gives an address of this machine that nobody else uses, so that every
// port of it is free, the default ones too.
func loopback() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8%128, pid%256, 1+loopbacks.Add(1)%254)
}

// load makes a configuration out of arguments as the program does. What they
// leave open is set so that many sidecars have room on one machine.
func load(t *testing.T, args ...string) *config.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ip := loopback()
	own := []string{
		"-proxy-node-name=node-1", "-envoy-executable-path=" + self,
		"-envoy-admin-bind-address=" + ip, "-graceful-addr=" + ip, "-telemetry-prom-merge-bind-addr=" + ip,
	}
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-service-file=") }) {
		own = append(own, "-proxy-id=web-sidecar-proxy")
	}
	c, err := config.Load(append(own, args...), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sidecar is a dataplane under test.
type sidecar struct {
	*Dataplane
	log     *logtest.Buffer
	stdout  *logtest.Buffer
	signals chan os.Signal
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error // valid once ended is closed
}

// prepare makes a dataplane with the arguments, for the server.
func prepare(t *testing.T, c *fakeConsul, args ...string) (*sidecar, error) {
	t.Helper()
	s := &sidecar{
		log: &logtest.Buffer{}, stdout: &logtest.Buffer{}, signals: make(chan os.Signal, 4), ended: make(chan struct{}),
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	var err error
	s.Dataplane, err = New(Options{
		Config:  load(t, append(c.settings(), args...)...),
		Version: "1.2.3",
		Signals: s.signals,
		Stdout:  s.stdout,
		Log:     hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: s.log}),
	})
	return s, err
}

// start runs a dataplane until the test's end at the latest.
func start(t *testing.T, c *fakeConsul, args ...string) *sidecar {
	t.Helper()
	s, err := prepare(t, c, args...)
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(s.ended)
		s.err = s.Run(ctx)
	}()
	t.Cleanup(func() {
		s.cancel()
		<-s.ended
	})
	return s
}

// terminate sends the signal that the kubelet sends.
func (s *sidecar) terminate() { s.signals <- syscall.SIGTERM }

// end waits for the end and gives its error.
func (s *sidecar) end(t *testing.T, within time.Duration) error {
	t.Helper()
	await(t, s.ended, within, "the end of Run")
	return s.err
}

// endPromptly waits for an end that nothing holds up but the machine, and gives
// its error.
func (s *sidecar) endPromptly(t *testing.T) error {
	t.Helper()
	timer := time.NewTimer(promptly)
	defer timer.Stop()
	select {
	case <-s.ended:
		return s.err
	case <-timer.C:
	}
	begun := time.Now()
	if out, err := exec.Command(os.Args[0], "-test.run=^$").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := time.Since(begun)
	t.Logf("the end takes more than %s on a machine where a start takes %s", promptly, start)
	return s.end(t, min(max(promptlyStarts*start-promptly, time.Millisecond), patience))
}

// mustEndCleanly waits for an end that was asked for.
func (s *sidecar) mustEndCleanly(t *testing.T) {
	t.Helper()
	if err := s.endPromptly(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if pid := s.supervisor.PID(); pid != 0 {
		t.Errorf("envoy %d is still there", pid)
	}
}

// do makes a request to the lifecycle server.
func (s *sidecar) do(t *testing.T, method, path string, header ...string) (int, string) {
	t.Helper()
	return request(t, method, "http://"+s.lifecycle.Addr().String()+path, header...)
}

func request(t *testing.T, method, url string, header ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// mustBeReady waits for the pod's readiness.
func (s *sidecar) mustBeReady(t *testing.T) {
	t.Helper()
	s.awaitReadiness(t, "ready", func(r lifecycle.ReadyState) bool { return r.Ready })
}

// awaitReadiness waits for an answer of /ready.
func (s *sidecar) awaitReadiness(t *testing.T, what string, ok func(lifecycle.ReadyState) bool) {
	t.Helper()
	var state lifecycle.ReadyState
	defer func() {
		if t.Failed() {
			t.Logf("readiness: %+v", state)
		}
	}()
	eventually(t, what, func() bool {
		select {
		case <-s.ended:
			t.Fatalf("ended instead: %v", s.err)
		default:
		}
		code, body := s.do(t, http.MethodGet, "/ready")
		state = lifecycle.ReadyState{}
		if err := json.Unmarshal([]byte(body), &state); err != nil {
			t.Fatalf("/ready: %v in %s", err, body)
		}
		if state.Ready != (code == http.StatusOK) {
			t.Fatalf("/ready has status %d with %s", code, body)
		}
		return ok(state)
	})
}

// mustBeFree checks that nobody listens at an address.
func mustBeFree(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Errorf("not given back: %v", err)
		return
	}
	_ = l.Close()
}

// take listens at an address until the test's end.
func take(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func await(t *testing.T, ch <-chan struct{}, within time.Duration, what string) {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-ch:
	case <-timer.C:
		t.Fatalf("not within %s: %s", within, what)
	}
}

// eventually waits for a condition that no channel tells of.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
}

// mention checks that a text has all the words.
func mention(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in: %s", word, text)
		}
	}
}
