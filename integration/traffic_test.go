// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// TestTraffic is the main job: a request from one service to another, refused
// when an intention says so and answered again when it is gone, and a clean end.
func TestTraffic(t *testing.T) {
	t.Parallel()
	clusters := map[string]consultest.Options{
		"plain text":       {},
		"TLS, ACLs, login": {TLS: true, JWT: true},
	}
	for name, options := range clusters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMesh(t, options)
			for _, protocol := range []string{"tcp", "http"} {
				t.Run(protocol, func(t *testing.T) { testTraffic(t, m, protocol) })
			}
		})
	}
}

func testTraffic(t *testing.T, m *mesh.Mesh, protocol string) {
	t.Helper()
	ctx := bounded(t)
	client := m.Consul.Client()
	web, api := protocol+"-web", protocol+"-api"
	must(t,
		client.SetProtocol(ctx, web, protocol),
		client.SetProtocol(ctx, api, protocol),
		client.SetIntention(ctx, "*", api, consultest.Allow))
	to, err := m.Start(ctx, mesh.PodSpec{Name: api})
	must(t, err)
	from, err := m.Start(ctx, mesh.PodSpec{Name: web, Upstreams: []string{api}})
	must(t, err, from.WaitReady(ctx), to.WaitReady(ctx))

	expectAnswer(ctx, t, from, api)
	seen, err := to.MutualTLS(ctx)
	must(t, err)
	t.Log(seen)

	must(t, client.SetIntention(ctx, web, api, consultest.Deny))
	within(t, time.Second, "a denied request is refused", func(ctx context.Context) bool {
		answer, err := from.Call(ctx, api, "/")
		if protocol == "tcp" {
			return err != nil // the connection is closed
		}
		return err == nil && answer.Status == http.StatusForbidden
	})
	must(t, client.DeleteIntention(ctx, web, api))
	expectAnswer(ctx, t, from, api)

	for _, pod := range []*mesh.Pod{from, to} {
		envoy := pod.EnvoyPID(ctx)
		must(t, pod.Dataplane().Signal(syscall.SIGTERM))
		expectExit(t, pod, 0)
		expectGone(t, envoy)
	}
}

// expectAnswer waits until a request over an upstream is answered by its
// application.
func expectAnswer(ctx context.Context, t *testing.T, from *mesh.Pod, upstream string) {
	t.Helper()
	var answer mesh.Answer
	var err error
	if mesh.Until(ctx, func(ctx context.Context) bool {
		answer, err = from.Call(ctx, upstream, "/hello")
		return err == nil && answer.Status == http.StatusOK
	}) != nil {
		t.Fatalf("no answer from %s: %v %v", upstream, answer, err)
	}
	if want := mesh.Greeting(upstream) + ", /hello"; answer.Body != want {
		t.Fatalf("%s answered %q, not %q", upstream, answer.Body, want)
	}
}

// within fails the test if cond does not hold in the given time.
func within(t *testing.T, limit time.Duration, what string, cond func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	start := time.Now()
	if err := mesh.Until(ctx, cond); err != nil {
		t.Fatalf("never: %s", what)
	}
	if took := time.Since(start); late(t, took, limit) {
		t.Errorf("%s: after %s, later than %s", what, took, limit)
	}
}

// expectExit waits for the end of a pod's dataplane and compares its exit code.
func expectExit(t *testing.T, pod *mesh.Pod, code int) {
	t.Helper()
	select {
	case <-pod.Dataplane().Done():
	case <-time.After(patience):
		t.Fatalf("the dataplane of %s does not end", pod.Service.Name)
	}
	if got := pod.Dataplane().ExitCode(); got != code {
		t.Errorf("the dataplane of %s ended with code %d, not %d", pod.Service.Name, got, code)
	}
}

// expectGone checks that a process has ended.
func expectGone(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Errorf("%d is no process ID", pid)
		return
	}
	within(t, time.Second, "envoy is gone", func(context.Context) bool { return syscall.Kill(pid, 0) != nil })
}
