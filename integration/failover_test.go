// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// three is a cluster as it is run in production. A server that was killed stays a
// voter: otherwise it would be none for ten seconds after its return, and with
// the next loss the cluster would lose its quorum.
var three = consultest.Options{
	Servers: 3, TLS: true, JWT: true,
	Config: map[string]any{"autopilot": map[string]any{"cleanup_dead_servers": false}},
}

// TestServerLoss kills the server in use again and again while requests flow.
func TestServerLoss(t *testing.T) {
	t.Parallel()
	const losses = 10
	ctx, cancel := context.WithTimeout(t.Context(), losses*patience)
	defer cancel()
	options := three
	options.Config = maps.Clone(three.Config)
	// The servers that are left would not take the proxies of the one that is
	// lost before they have noticed. TestSessionLimit is about that.
	options.Config["performance"] = map[string]any{"enable_xds_load_balancing": false}
	m := newMesh(t, options)
	consul := m.Consul
	from, to := startPair(ctx, t, m, "")
	unwatched, err := m.Start(ctx, mesh.PodSpec{
		Name: "unwatched", Upstreams: []string{canary}, Args: []string{"-server-watch-disabled"},
	})
	must(t, err, unwatched.WaitReady(ctx))
	pods := []*mesh.Pod{from, to, unwatched}
	requests := startLoad(t, from)
	for range losses {
		server := serverOf(ctx, t, consul, from)
		moved := make(map[*mesh.Pod]func(context.Context) bool)
		for _, pod := range pods {
			if serverOf(ctx, t, consul, pod) == server {
				moved[pod] = hasMoved(pod, session(ctx, t, pod).Epoch)
			}
		}
		consul.Kill(server)
		start := time.Now()
		for pod, has := range moved {
			within(t, patience, pod.Service.Name+" has a stream to another server", has)
		}
		if took := time.Since(start); late(t, took, time.Second) {
			t.Errorf("streams to another server after %s, later than a second", took)
		}
		t.Logf("%d streams to another server after %s", len(moved), time.Since(start).Round(time.Millisecond))
		// A server that has to sign certificates first waits for a leader.
		expectChange(ctx, t, consul.Client, patience, pods...)
		must(t, consul.Restart(ctx, server))
	}
	requests.expectNoFailure(t)
	for _, pod := range pods {
		expectStreamKept(ctx, t, pod)
	}
}

// TestOutage takes all servers away for half a minute, and Envoys meanwhile.
func TestOutage(t *testing.T) {
	t.Parallel()
	const outage = 30 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), outage+2*patience)
	defer cancel()
	m := newMesh(t, three)
	consul := m.Consul
	from, _ := startPair(ctx, t, m, "")
	folder := t.TempDir()
	saved, err := m.Start(ctx, mesh.PodSpec{
		Name: "saved", Upstreams: []string{"api", canary}, Args: []string{"-xds-cache", folder},
	})
	must(t, err, m.Consul.Client().SetIntention(ctx, "saved", "api", consultest.Allow), saved.WaitReady(ctx))
	fromKilled, toKilled := startPair(ctx, t, m, "killed-")
	stranger, err := m.Start(ctx, mesh.PodSpec{Name: "stranger", Upstreams: []string{"killed-api"}})
	must(t, err)
	uncached, err := m.Start(ctx, mesh.PodSpec{Name: "uncached", Upstreams: []string{canary}, Args: []string{"-xds-cache", "off"}})
	must(t, err, stranger.WaitReady(ctx), uncached.WaitReady(ctx))
	expectDenied(ctx, t, stranger, "killed-api")
	expectAnswer(ctx, t, saved, "api")
	within(t, patience, "a copy is saved", hasListeners(folder))

	requests := startLoad(t, from)
	end := time.NewTimer(outage)
	defer end.Stop()
	for i := range consul.Servers() {
		consul.Kill(i)
	}
	for _, pod := range []*mesh.Pod{fromKilled, toKilled} {
		pid := pod.EnvoyPID(ctx)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		within(t, time.Second, "a new envoy of "+pod.Service.Name+" is live", isLive(pod, pid))
		expectAnswer(ctx, t, fromKilled, "killed-api")
		expectDenied(ctx, t, stranger, "killed-api")
	}
	seen, err := toKilled.MutualTLS(ctx)
	must(t, err)
	t.Log(seen)
	pid := uncached.EnvoyPID(ctx)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	saved.Dataplane().Kill()
	must(t, saved.StartDataplane(ctx))
	within(t, 10*time.Second, "a new podplane with what the last one saved has its envoy live", isLive(saved, 0))
	expectAnswer(ctx, t, saved, "api")

	<-end.C
	if isLive(uncached, pid)(ctx) {
		t.Error("an envoy without a cache went live without a server")
	}
	for i := range consul.Servers() {
		must(t, consul.Launch(i))
	}
	expectChange(ctx, t, consul.Client, 3*time.Second, from, fromKilled, toKilled, saved)
	within(t, patience, "the envoy without a cache is live", isLive(uncached, pid))
	requests.expectNoFailure(t)
	expectStreamKept(ctx, t, from)
}

// hasListeners tells whether a copy with listeners has been saved, which is half
// a second after Envoy has accepted them: they come last.
func hasListeners(folder string) func(context.Context) bool {
	return func(context.Context) bool {
		files, _ := filepath.Glob(filepath.Join(folder, "xds-*")) // the pattern is right
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err == nil && bytes.Contains(content, []byte("public_listener")) {
				return true
			}
		}
		return false
	}
}

// expectDenied waits until a request over an upstream is refused.
func expectDenied(ctx context.Context, t *testing.T, from *mesh.Pod, upstream string) {
	t.Helper()
	if mesh.Until(ctx, func(ctx context.Context) bool {
		answer, err := from.Call(ctx, upstream, "/")
		return err != nil || answer.Status == 403
	}) != nil {
		t.Fatalf("%s is not denied", upstream)
	}
}

// TestFrozenServer stops the server in use with SIGSTOP: its connections stay
// open and nobody answers on them. It is made a follower before, because a
// server that asks a frozen leader for a certificate waits for half a minute.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	const limit = 15 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	m := newMesh(t, three)
	consul := m.Consul
	from, _ := startPair(ctx, t, m, "")
	unwatched, err := m.Start(ctx, mesh.PodSpec{
		Name: "unwatched", Upstreams: []string{canary}, Args: []string{"-server-watch-disabled"},
	})
	must(t, err, unwatched.WaitReady(ctx))
	requests := startLoad(t, from)
	for name, pod := range map[string]*mesh.Pod{"server watch": from, "no server watch": unwatched} {
		server := serverOf(ctx, t, consul, pod)
		another := (server + 1) % consul.Servers()
		client := consul.ClientAt(another, consul.Token())
		makeFollower(ctx, t, consul, server)
		frozen := time.Now()
		must(t, consul.Pause(server))
		arrived := has(pod, change(ctx, t, func() *consultest.Client { return client }))
		within(t, patience, "a change reaches the envoy of "+pod.Service.Name, arrived)
		took := time.Since(frozen)
		t.Logf("%s: another server serves after %s", name, took.Round(time.Millisecond))
		if late(t, took, limit) {
			t.Errorf("%s: another server serves after %s, later than %s", name, took, limit)
		}
		must(t, consul.Resume(server))
		expectChange(ctx, t, func() *consultest.Client { return client }, patience, pod)
	}
	requests.expectNoFailure(t)
	expectStreamKept(ctx, t, from)
	expectStreamKept(ctx, t, unwatched)
}

// makeFollower has the cluster led by another server than that.
func makeFollower(ctx context.Context, t *testing.T, consul *consultest.Cluster, server int) {
	t.Helper()
	var leader string
	if mesh.Until(ctx, func(ctx context.Context) bool {
		err := consul.Client().Get(ctx, "/v1/status/leader", &leader)
		host, _, _ := net.SplitHostPort(leader)
		if err != nil || host != consul.Addresses()[server] {
			return err == nil && host != ""
		}
		// An error shows in who leads.
		_ = consul.Client().Do(ctx, http.MethodPost, "/v1/operator/raft/transfer-leader", nil, nil)
		return false
	}) != nil {
		t.Fatalf("server %d cannot be made a follower, the leader is %q", server, leader)
	}
}

// TestSessionLimit lets more proxies come to a server than it takes: it has a
// limit of its share of all of them and a tenth
// (https://developer.hashicorp.com/consul/docs/reference/agent/configuration-file/general, enable_xds_load_balancing).
func TestSessionLimit(t *testing.T) {
	t.Parallel()
	const proxies = 6 // two for each server, of which each takes three
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	m := newMesh(t, three)
	var pods []*mesh.Pod
	for i := range proxies {
		pod, err := m.Prepare(mesh.PodSpec{
			Name: fmt.Sprintf("web-%d", i), Upstreams: []string{canary},
			Args: []string{"-addresses", "127.0.0.1"}, // the others are told of by this one
		})
		must(t, err, pod.Register(ctx))
		pods = append(pods, pod)
	}
	start := time.Now()
	for _, pod := range pods {
		must(t, pod.StartDataplane(ctx))
	}
	for _, pod := range pods {
		must(t, pod.WaitReady(ctx))
	}
	expectChange(ctx, t, m.Consul.Client, 3*time.Second, pods...)
	t.Logf("every proxy is served after %s", time.Since(start).Round(time.Millisecond))
	var refused, streams float64
	for _, pod := range pods {
		r := metric(ctx, t, pod, `podplane_xds_upstream_errors_total{code="ResourceExhausted"}`)
		s := metric(ctx, t, pod, "podplane_xds_upstream_connects_total")
		refused, streams = refused+r, streams+s
		if s > 12 {
			t.Errorf("%s opened %v streams", pod.Service.Name, s)
		}
	}
	t.Logf("%v streams were opened, %v refused for the limit", streams, refused)
	if refused == 0 {
		t.Error("the limit was never reached")
	}
}
