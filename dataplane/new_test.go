// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestTakenAddress: each address that is taken is named, and those that were
// bound before it are given back.
func TestTakenAddress(t *testing.T) {
	t.Parallel()
	ports := []string{"-envoy-admin-bind-port", "-xds-bind-port", "-telemetry-prom-merge-port", "-graceful-port"}
	for at, taken := range ports {
		t.Run(taken, func(t *testing.T) {
			t.Parallel()
			// xDS over TCP has to be at a loopback address like the others, and load
			// takes a new one for those.
			ip := loopback()
			args := []string{
				"-envoy-admin-bind-address=" + ip, "-xds-bind-addr=" + ip,
				"-telemetry-prom-merge-bind-addr=" + ip, "-graceful-addr=" + ip,
			}
			for i, flag := range ports {
				args = append(args, flag+"="+strconv.Itoa(1001+i))
			}
			addr := func(i int) string { return net.JoinHostPort(ip, strconv.Itoa(1001+i)) }
			take(t, "tcp", addr(at))
			_, err := prepare(t, &fakeConsul{address: "127.0.0.1", port: 1}, args...)
			if err == nil {
				t.Fatal("no error")
			}
			if code := ExitCode(err); code != ExitListen {
				t.Errorf("exit code %d for %v", code, err)
			}
			mention(t, err.Error(), addr(at), "address already in use")
			for i := range ports {
				if i != at {
					mustBeFree(t, addr(i))
				}
			}
		})
	}
}

func TestTakenSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "xds.sock")
	take(t, "unix", path)
	_, err := prepare(t, &fakeConsul{address: "127.0.0.1", port: 1}, "-xds-bind-addr=unix://"+path)
	if code := ExitCode(err); code != ExitListen {
		t.Fatalf("exit code %d for %v", code, err)
	}
	mention(t, err.Error(), path)
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notExecutable := filepath.Join(dir, "envoy")
	garbage := filepath.Join(dir, "ca.pem")
	for _, path := range []string{notExecutable, garbage} {
		if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		args  []string
		code  int
		words []string
	}{
		"envoy missing":        {[]string{"-envoy-executable-path=" + dir + "/none"}, ExitEnvoy, []string{dir + "/none", "does not exist"}},
		"envoy not executable": {[]string{"-envoy-executable-path=" + notExecutable}, ExitEnvoy, []string{notExecutable, "not executable"}},
		"envoy's arguments":    {[]string{"--", "--config-path", "/x"}, ExitEnvoy, []string{"--config-path"}},
		"ca file missing":      {[]string{"-tls-disabled=false", "-ca-certs=" + dir + "/none"}, ExitConfig, []string{dir + "/none"}},
		"ca file is garbage":   {[]string{"-tls-disabled=false", "-ca-certs=" + garbage}, ExitConfig, []string{garbage}},
		"metrics address of another machine": {
			[]string{"-telemetry-prom-merge-bind-addr=192.0.2.1"}, ExitListen, []string{"192.0.2.1:20100"},
		},
		"lifecycle address of another machine": {[]string{"-graceful-addr=192.0.2.1"}, ExitListen, []string{"192.0.2.1:20600"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := prepare(t, &fakeConsul{address: "127.0.0.1", port: 1}, tc.args...)
			if err == nil {
				t.Fatal("no error")
			}
			if code := ExitCode(err); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			mention(t, err.Error(), tc.words...)
		})
	}
}

// TestClose gives everything back without a Run.
func TestClose(t *testing.T) {
	t.Parallel()
	s, err := prepare(t, &fakeConsul{address: "127.0.0.1", port: 1}, "-xds-bind-addr=127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	bound := []string{s.xds.Addr().String(), s.metrics.Addr().String(), s.lifecycle.Addr().String()}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, addr := range bound {
		mustBeFree(t, addr)
	}
}

// TestDefaultMetricsPortIsTaken is what the second dataplane of a pod finds.
func TestDefaultMetricsPortIsTaken(t *testing.T) {
	t.Parallel()
	t.Run("nobody wants metrics", func(t *testing.T) {
		t.Parallel()
		ip := loopback()
		take(t, "tcp", ip+":20100")
		s := start(t, (&fakeConsul{}).start(t), "-telemetry-prom-merge-bind-addr="+ip)
		s.mustBeReady(t)
		mention(t, s.log.String(), "[WARN]  own metrics are not served", ip+":20100")
		s.terminate()
		s.mustEndCleanly(t)
	})
	t.Run("envoy is to serve them", func(t *testing.T) {
		t.Parallel()
		ip := loopback()
		take(t, "tcp", ip+":20100")
		c := &fakeConsul{proxyConfig: map[string]any{"envoy_prometheus_bind_addr": "127.0.0.1:20200"}}
		s := start(t, c.start(t), "-telemetry-prom-merge-bind-addr="+ip)
		err := s.end(t, patience)
		if code := ExitCode(err); code != ExitListen {
			t.Fatalf("exit code %d for %v", code, err)
		}
		mention(t, err.Error(), ip+":20100", "address already in use")
	})
	t.Run("but central configuration is off", func(t *testing.T) {
		t.Parallel()
		ip := loopback()
		take(t, "tcp", ip+":20100")
		c := &fakeConsul{proxyConfig: map[string]any{"envoy_prometheus_bind_addr": "127.0.0.1:20200"}}
		s := start(t, c.start(t), "-telemetry-prom-merge-bind-addr="+ip, "-telemetry-use-central-config=false")
		s.mustBeReady(t)
		s.terminate()
		s.mustEndCleanly(t)
	})
}

// TestSilence: nothing but the configuration is required.
func TestSilence(t *testing.T) {
	t.Parallel()
	d, err := New(Options{Config: load(t, "-addresses=127.0.0.1", "-tls-disabled")})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.log == nil || d.log.IsError() {
		t.Error("no logger, or one that logs")
	}
	if d.stdout != os.Stdout {
		t.Error("standard output is another")
	}
}

func TestWithoutCredentials(t *testing.T) {
	t.Parallel()
	given := []string{
		"PATH=/bin", "DP_CREDENTIAL_STATIC_TOKEN=a", "DP_CREDENTIAL_LOGIN_BEARER_TOKEN=b", "DP_CREDENTIAL_TYPE=static",
		"DP_PROXY_ID=web", "NOT_DP_CREDENTIAL_=c", "HOST_IP=10.0.0.1",
	}
	want := []string{"PATH=/bin", "DP_PROXY_ID=web", "NOT_DP_CREDENTIAL_=c", "HOST_IP=10.0.0.1"}
	if got := withoutCredentials(given); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestRunWithoutSignals ends by its context alone.
func TestRunWithoutSignals(t *testing.T) {
	t.Parallel()
	s, err := prepare(t, &fakeConsul{address: "127.0.0.1", port: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.signal = nil
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	go func() { ended <- s.Run(ctx) }()
	select {
	case err := <-ended:
		if err != nil || ctx.Err() == nil {
			t.Errorf("ended with %v (context: %v)", err, ctx.Err())
		}
	case <-time.After(patience):
		t.Fatal("does not end")
	}
}
