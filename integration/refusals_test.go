// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"podplane/dataplane"
	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// lastLine is the last line that podplane wrote, which says why it ended.
func lastLine(pod *mesh.Pod) string {
	out := strings.TrimSpace(pod.Output())
	return out[strings.LastIndexByte(out, '\n')+1:]
}

// expectRefusal waits for the end of a dataplane that cannot do its work, and
// checks that its last line says why.
func expectRefusal(t *testing.T, pod *mesh.Pod, code int, words ...string) {
	t.Helper()
	expectExit(t, pod, code)
	for _, word := range words {
		if !strings.Contains(lastLine(pod), word) {
			t.Errorf("the last line does not say %q: %s", word, lastLine(pod))
		}
	}
}

// TestWhatEndsAtOnce are faults that waiting does not heal.
func TestWhatEndsAtOnce(t *testing.T) {
	t.Parallel()
	m := newMesh(t, consultest.Options{TLS: true, ACL: true})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	dir := t.TempDir()
	notExecutable := filepath.Join(dir, "envoy")
	must(t, os.WriteFile(notExecutable, []byte("#!/bin/false\n"), 0o600))
	exitsAtOnce := filepath.Join(dir, "exits")
	must(t, os.WriteFile(exitsAtOnce, []byte("#!/bin/sh\nexit 7\n"), 0o700))

	token, err := m.Consul.Client().CreateServiceToken(bounded(t), "web")
	must(t, err)
	var powerless consultest.Token
	must(t, m.Consul.Client().Do(bounded(t), http.MethodPut, "/v1/acl/token", map[string]any{}, &powerless))
	static := []string{"-credential-type", "static", "-static-token", token.SecretID}
	tests := map[string]struct {
		spec  mesh.PodSpec
		code  int
		words []string
	}{
		"wrong token": {
			spec: mesh.PodSpec{Credentials: []string{"-credential-type", "static", "-static-token", "not-a-token"}},
			code: dataplane.ExitRefused, words: []string{"ACL not found"},
		},
		"token without permission": {
			spec: mesh.PodSpec{Credentials: []string{"-credential-type", "static", "-static-token", powerless.SecretID}},
			code: dataplane.ExitRefused, words: []string{"service:read", "web"},
		},
		"envoy missing": {
			spec: mesh.PodSpec{Credentials: static, Args: []string{"-envoy-executable-path", "/no/such/envoy"}},
			code: dataplane.ExitEnvoy, words: []string{"/no/such/envoy"},
		},
		"envoy not executable": {
			spec: mesh.PodSpec{Credentials: static, Args: []string{"-envoy-executable-path", notExecutable}},
			code: dataplane.ExitEnvoy, words: []string{notExecutable},
		},
		"envoy exits at once": {
			spec: mesh.PodSpec{
				Credentials: static,
				Args:        []string{"-envoy-executable-path", exitsAtOnce, "-envoy-max-restarts", "1"},
			},
			code: 7, words: []string{"code 7"},
		},
		"admin port taken": {
			spec: mesh.PodSpec{Credentials: static, Args: []string{"-envoy-admin-bind-port", takenPort}},
			code: dataplane.ExitListen, words: []string{"admin", takenPort, "address already in use"},
		},
		"lifecycle port taken": {
			spec: mesh.PodSpec{Credentials: static, Args: []string{"-graceful-port", takenPort}},
			code: dataplane.ExitListen, words: []string{takenPort, "address already in use"},
		},
		"metrics port taken": {
			spec: mesh.PodSpec{Credentials: static, Args: []string{"-telemetry-prom-merge-port", takenPort}},
			code: dataplane.ExitListen, words: []string{takenPort, "address already in use"},
		},
		"malformed fragment": {
			spec: mesh.PodSpec{
				Credentials: static,
				ProxyConfig: map[string]any{"envoy_extra_static_clusters_json": `{"name": `},
			},
			code: dataplane.ExitBootstrap, words: []string{"envoy_extra_static_clusters_json"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.spec.Name == "" {
				tt.spec.Name = "web"
			}
			ctx := bounded(t)
			pod, err := m.Prepare(tt.spec)
			must(t, err)
			pod.Service.ID = strings.ReplaceAll(name, " ", "-")
			must(t, pod.Register(ctx), pod.StartDataplane(ctx))
			expectRefusal(t, pod, tt.code, tt.words...)
		})
	}
}

// TestWhatIsWaitedFor are faults that somebody else can heal: podplane says what
// it waits for and goes on waiting.
func TestWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	m := newMesh(t, consultest.Options{TLS: true, JWT: true})
	otherCA, err := consultest.NewCA("another authority")
	must(t, err)
	caFile := filepath.Join(t.TempDir(), "other-ca.pem")
	must(t, os.WriteFile(caFile, otherCA.PEM(), 0o600))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, closedPort, _ := net.SplitHostPort(closed.Addr().String())
	must(t, closed.Close())
	tests := map[string]struct {
		args  []string
		words string
	}{
		"wrong CA":             {[]string{"-ca-certs", caFile}, "unknown authority"},
		"server name mismatch": {[]string{"-tls-server-name", "other.example"}, "not other.example"},
		"refused connection":   {[]string{"-grpc-port", closedPort}, "connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := bounded(t)
			pod, err := m.Start(ctx, mesh.PodSpec{Name: strings.ReplaceAll(name, " ", "-"), Args: tt.args})
			must(t, err)
			expectLine(t, pod, tt.words)
			answer, err := mesh.Get(ctx, "http://"+pod.Lifecycle+"/ready")
			must(t, err)
			if answer.Status != 503 || !strings.Contains(answer.Body, "consul session") {
				t.Errorf("/ready: %v", answer)
			}
			must(t, pod.Dataplane().Stop(patience))
			expectExit(t, pod, 0)
		})
	}
}

// TestRegisteredLater starts a dataplane before its proxy is in the catalog.
func TestRegisteredLater(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	m := newMesh(t, consultest.Options{TLS: true, JWT: true})
	pod, err := m.Prepare(mesh.PodSpec{Name: "late"})
	must(t, err, pod.StartDataplane(ctx))
	expectLine(t, pod, "waiting for the proxy to be registered")
	must(t, pod.Register(ctx), pod.WaitReady(ctx))
}
