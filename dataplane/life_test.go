// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"google.golang.org/protobuf/proto"

	"podplane/lifecycle"
)

func TestLife(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{}).start(t)
	s := start(t, c, "-proxy-namespace=ns", "-proxy-partition=part")
	s.mustBeReady(t)
	if _, text := request(t, http.MethodGet, "http://"+s.metrics.Addr().String()+"/stats/prometheus"); true {
		mention(t, text, `podplane_build_info{`, `version="1.2.3"`, "envoy_server_live", "podplane_lifecycle_", "podplane_envoy_up 1")
	}
	if code, _ := s.do(t, http.MethodGet, "/live"); code != http.StatusOK {
		t.Errorf("/live: %d", code)
	}
	c.mu.Lock()
	asked := c.proxy
	c.mu.Unlock()
	want := &pbdataplane.GetEnvoyBootstrapParamsRequest{
		ProxyId: "web-sidecar-proxy", Namespace: "ns", Partition: "part",
		ServiceId: "web-sidecar-proxy", //nolint:staticcheck // what servers before 1.19 look at
		NodeSpec:  &pbdataplane.GetEnvoyBootstrapParamsRequest_NodeName{NodeName: "node-1"},
	}
	if !proto.Equal(asked, want) {
		t.Errorf("asked for the parameters of %v, want %v", asked, want)
	}
	bound := []string{s.metrics.Addr().String(), s.lifecycle.Addr().String(), s.admin.Address()}

	s.terminate()
	s.mustEndCleanly(t)
	for _, addr := range bound {
		mustBeFree(t, addr)
	}
	if st := s.supervisor.Status(); st.Incarnation != 1 || st.Restarts != 0 || st.LastExit != "" {
		t.Errorf("envoy: %+v", st)
	}
	if s.stdout.String() != "" {
		t.Errorf("on standard output: %s", s.stdout)
	}
}

// TestXDSAddresses has Envoy reach podplane in every way that can be set.
func TestXDSAddresses(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "xds.sock")
	for name, tc := range map[string]struct{ setting, network, prefix string }{
		"abstract socket": {"", "unix", "@podplane-xds-"},
		"socket file":     {"-xds-bind-addr=unix://" + socket, "unix", socket},
		"tcp":             {"-xds-bind-addr=127.0.0.1", "tcp", "127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-xds-cache=off"}
			if tc.setting != "" {
				args = append(args, tc.setting)
			}
			s := start(t, (&fakeConsul{}).start(t), args...)
			s.mustBeReady(t)
			addr := s.xds.Addr()
			if addr.Network() != tc.network || !strings.HasPrefix(addr.String(), tc.prefix) {
				t.Errorf("xds is at %s %s", addr.Network(), addr)
			}
			s.terminate()
			s.mustEndCleanly(t)
			if _, err := os.Stat(socket); tc.prefix == socket && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is left behind: %v", err)
			}
		})
	}
}

func TestShutdownOverHTTP(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ method, path string }{
		"get":        {http.MethodGet, "/graceful_shutdown"},
		"post":       {http.MethodPost, "/graceful_shutdown"},
		"other path": {http.MethodPost, "/over"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, (&fakeConsul{}).start(t),
				"-shutdown-grace-period-seconds=60", "-shutdown-drain-listeners", "-graceful-shutdown-path="+tc.path)
			s.mustBeReady(t)
			code, body := s.do(t, tc.method, tc.path)
			var state lifecycle.Shutdown
			if err := json.Unmarshal([]byte(body), &state); err != nil || code != http.StatusOK {
				t.Fatalf("status %d (%v): %s", code, err, body)
			}
			if state.State == lifecycle.Running || !state.WhenIdle {
				t.Errorf("answer %+v", state)
			}
			s.mustEndCleanly(t) // nothing is in flight: long before the grace period
		})
	}
}

// TestShutdownIsAwaited: a client that waits is told the outcome by the server
// that ends with it.
func TestShutdownIsAwaited(t *testing.T) {
	t.Parallel()
	s := start(t, (&fakeConsul{}).start(t))
	s.mustBeReady(t)
	code, body := s.do(t, http.MethodPost, "/graceful_shutdown?wait")
	if code != http.StatusOK || !strings.Contains(body, `"state": "stopped"`) {
		t.Errorf("answer %d %s", code, body)
	}
	s.mustEndCleanly(t)
}

func TestStartupIsAwaited(t *testing.T) {
	t.Parallel()
	for state, args := range map[string][]string{
		"live":    {"-startup-grace-period-seconds=60"},
		"timeout": {"-startup-grace-period-seconds=1", "--", fakeFlag, "initializing"},
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := start(t, (&fakeConsul{}).start(t), append([]string{"-graceful-startup-path=/up"}, args...)...)
			if code, body := s.do(t, http.MethodGet, "/up"); code != http.StatusOK || !strings.Contains(body, `"state": "`+state+`"`) {
				t.Errorf("answer %d %s", code, body)
			}
			if live := s.supervisor.Status().Live(); live != (state == "live") {
				t.Errorf("envoy is live: %t", live)
			}
		})
	}
}

// TestGracePeriod has a signal keep the grace period, until a second one comes.
func TestGracePeriod(t *testing.T) {
	t.Parallel()
	s := start(t, (&fakeConsul{}).start(t), "-shutdown-grace-period-seconds=60", "--", fakeFlag, "busy")
	s.mustBeReady(t)
	s.terminate()
	s.awaitReadiness(t, "terminating", func(r lifecycle.ReadyState) bool { return r.Terminating != "" })
	if code, body := s.do(t, http.MethodPost, "/graceful_shutdown"); code != http.StatusOK {
		t.Errorf("another request: %d %s", code, body)
	}
	st := s.drainer.State()
	if st.State != lifecycle.Draining || st.Reason != "signal: terminated" || s.supervisor.PID() == 0 || st.Deadline.Sub(st.Since) != s.drainer.Grace() {
		t.Errorf("during the grace period: %+v", st)
	}
	// What Envoy needs is there for as long as Envoy is.
	if x := s.xds.Status(); !x.EnvoyConnected || !x.UpstreamConnected {
		t.Errorf("xds during the drain: %+v", x)
	}
	if code, _ := request(t, http.MethodGet, "http://"+s.metrics.Addr().String()+"/stats/prometheus"); code != http.StatusOK {
		t.Errorf("metrics during the drain: %d", code)
	}
	s.terminate()
	s.mustEndCleanly(t)
}

func TestTerminationGracePeriodLimitsTheGracePeriod(t *testing.T) {
	t.Parallel()
	s, err := prepare(t, (&fakeConsul{}).start(t), "-shutdown-grace-period-seconds=60", "-termination-grace-period-seconds=30")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if limit := s.drainer.Limit().Seconds(); limit >= 30 {
		t.Errorf("a shutdown takes up to %g s", limit)
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	s := start(t, (&fakeConsul{}).start(t), "-shutdown-grace-period-seconds=60", "--", fakeFlag, "busy")
	s.mustBeReady(t)
	s.cancel()
	s.mustEndCleanly(t)
}

func TestDumpOnExit(t *testing.T) {
	t.Parallel()
	s := start(t, (&fakeConsul{}).start(t), "-dump-envoy-config-on-exit")
	s.mustBeReady(t)
	s.terminate()
	s.mustEndCleanly(t)
	mention(t, s.stdout.String(), "the whole configuration")
}

// TestServerFreezesBeforeTheEnd: a login that cannot be undone holds up the end
// for a bounded time, and Envoy is gone before that.
func TestServerFreezesBeforeTheEnd(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{token: "login-secret", logout: hanging}).start(t)
	s := start(t, c, "-credential-type=login", "-login-auth-method=k8s", "-login-bearer-token=bearer")
	s.mustBeReady(t)
	s.terminate()
	await(t, c.called[callLogout], patience, "a logout")
	if st := s.drainer.State(); st.State != lifecycle.Stopped {
		t.Errorf("logged out while the shutdown is %s", st.State)
	}
	begun := time.Now()
	if err := s.endPromptly(t); err != nil {
		t.Error(err)
	}
	t.Logf("the logout took %s", time.Since(begun).Round(time.Millisecond))
}

func TestLoginIsUndone(t *testing.T) {
	t.Parallel()
	const tries = 3 // 700 ms for a logout can be too short for a busy machine
	for range tries {
		c := (&fakeConsul{token: "login-secret"}).start(t)
		s := start(t, c, "-credential-type=login", "-login-auth-method=k8s", "-login-bearer-token=bearer")
		s.mustBeReady(t)
		s.terminate()
		s.mustEndCleanly(t)
		c.mu.Lock()
		logouts := c.logouts
		c.mu.Unlock()
		if len(logouts) == 1 && logouts[0] == "login-secret" {
			return
		}
		t.Logf("logouts: %q", logouts)
	}
	t.Errorf("in %d lives, no login was undone", tries)
}

// TestEnvoySeesNoCredentials looks at what everybody in the pod can see of
// Envoy. It sets the environment, so it is not parallel.
func TestEnvoySeesNoCredentials(t *testing.T) {
	t.Setenv("DP_CREDENTIAL_STATIC_TOKEN", "secret-token")
	t.Setenv("SOMETHING_ELSE", "kept")
	s := start(t, (&fakeConsul{token: "secret-token"}).start(t),
		"-xds-bind-addr=127.0.0.1", "-credential-type=static", "-static-token=secret-token")
	s.mustBeReady(t)
	proc := "/proc/" + strconv.Itoa(s.supervisor.PID())
	for _, file := range []string{"/environ", "/cmdline"} {
		content, err := os.ReadFile(proc + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"secret-token", s.xdsSecret} {
			if strings.Contains(string(content), secret) {
				t.Errorf("a secret is in %s", file)
			}
		}
		if file == "/environ" {
			mention(t, string(content), "SOMETHING_ELSE=kept")
		}
	}
	s.terminate()
	s.mustEndCleanly(t)
}

// TestEnvoyIsRestarted kills Envoy once and sees the readiness follow.
func TestEnvoyIsRestarted(t *testing.T) {
	t.Parallel()
	s := start(t, (&fakeConsul{}).start(t))
	s.mustBeReady(t)
	changed := s.supervisor.Changed()
	if err := syscall.Kill(s.supervisor.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, changed, patience, "word of the crash")
	s.mustBeReady(t)
	eventually(t, "the next envoy", func() bool { return s.supervisor.Incarnation() == 2 })
	s.mustBeReady(t)
	s.terminate()
	s.mustEndCleanly(t)
}
