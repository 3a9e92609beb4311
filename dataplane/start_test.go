// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"podplane/lifecycle"
)

// TestSignalDuringTheStart: in whatever it waits for, podplane ends at once and
// cleanly.
func TestSignalDuringTheStart(t *testing.T) {
	t.Parallel()
	login := []string{"-credential-type=login", "-login-auth-method=k8s", "-login-bearer-token=bearer"}
	for name, tc := range map[string]struct {
		consul *fakeConsul
		args   []string
		reach  func(*testing.T, *sidecar, *fakeConsul)
	}{
		"at once": {},
		"no server": {
			args:  []string{"-grpc-port=1"},
			reach: pendingWith("consul session", "refused"),
		},
		"login hangs": {
			consul: &fakeConsul{login: hanging, token: "t"}, args: login,
			reach: seen(callLogin),
		},
		"login fails": {
			consul: &fakeConsul{login: refusing(codes.Unavailable, "not now"), token: "t"}, args: login,
			reach: seen(callLogin),
		},
		"token unknown": {
			consul: &fakeConsul{token: "t"},
			args:   []string{"-credential-type=static", "-static-token=other"},
			reach:  pendingWith("consul session", "ACL not found"),
		},
		"proxy not registered": {
			consul: &fakeConsul{bootstrap: refusing(codes.NotFound, "no such proxy")},
			reach:  seen(callBootstrap),
		},
		"bootstrap parameters hang": {
			consul: &fakeConsul{bootstrap: hanging},
			reach:  seen(callBootstrap),
		},
		"after a login": {
			consul: &fakeConsul{bootstrap: hanging, token: "t"}, args: login,
			reach: seen(callBootstrap),
		},
		"envoy has started": {
			args:  []string{"--", fakeFlag, "initializing"},
			reach: pendingWith("envoy live", "envoy is starting"),
		},
		"envoy waits for its configuration": {
			consul: &fakeConsul{ads: hanging},
			reach:  seen(callADS),
		},
		"envoy's configuration is refused": {
			consul: &fakeConsul{ads: refusing(codes.Unavailable, "the server's own words")},
			reach:  pendingWith("envoy live", "consul server: the server's own words"),
		},
		"envoy is about to be restarted": {
			args:  []string{"-envoy-max-restarts=1000", "--", fakeFlag, "exit:3"},
			reach: pendingWith("envoy live", "exited with code 3"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := tc.consul.start(t)
			// A grace period must not matter: nothing has passed through Envoy yet.
			s := start(t, c, append([]string{"-shutdown-grace-period-seconds=60"}, tc.args...)...)
			if tc.reach != nil {
				tc.reach(t, s, c)
			}
			s.terminate()
			s.mustEndCleanly(t)
		})
	}
}

// seen waits for a call to arrive at the server.
func seen(call string) func(*testing.T, *sidecar, *fakeConsul) {
	return func(t *testing.T, _ *sidecar, c *fakeConsul) {
		t.Helper()
		await(t, c.called[call], patience, "call "+call)
	}
}

// pendingWith waits for a readiness task to say a word.
func pendingWith(task, word string) func(*testing.T, *sidecar, *fakeConsul) {
	return func(t *testing.T, s *sidecar, _ *fakeConsul) {
		t.Helper()
		s.awaitReadiness(t, task+" with "+word, func(r lifecycle.ReadyState) bool {
			for _, p := range r.Pending {
				if p.Task == task && strings.Contains(p.LastError, word) {
					return true
				}
			}
			return false
		})
	}
}

// TestSilentServer is a server whose kernel takes connections and which itself
// says nothing.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	ip := loopback()
	silent := take(t, "tcp", ip+":0")
	for name, args := range map[string][]string{
		"without credentials": nil,
		"with a login":        {"-credential-type=login", "-login-auth-method=k8s", "-login-bearer-token=bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, &fakeConsul{address: ip, port: silent.Addr().(*net.TCPAddr).Port}, args...)
			s.awaitReadiness(t, "an answer", func(lifecycle.ReadyState) bool { return true })
			s.terminate()
			s.mustEndCleanly(t)
		})
	}
}
