// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
	"podplane/serverconn"
	"podplane/xdsproxy"
)

// session is what a pod says of its session with the servers.
func session(ctx context.Context, t *testing.T, pod *mesh.Pod) serverconn.Status {
	t.Helper()
	var st serverconn.Status
	must(t, pod.Status(ctx, "consul", &st))
	return st
}

// serverOf gives the number of the server that a pod uses.
func serverOf(ctx context.Context, t *testing.T, consul *consultest.Cluster, pod *mesh.Pod) int {
	t.Helper()
	st := session(ctx, t, pod)
	host, _, _ := net.SplitHostPort(st.Server)
	for i, address := range consul.Addresses() {
		if address == host {
			return i
		}
	}
	t.Fatalf("%s uses no server: %+v", pod.Service.Name, st)
	return -1
}

// hasMoved tells whether a pod has an upstream stream in a later epoch, which
// is to say at another server or with another token.
func hasMoved(pod *mesh.Pod, epoch uint64) func(context.Context) bool {
	return func(ctx context.Context) bool {
		var c serverconn.Status
		var x xdsproxy.Status
		return pod.Status(ctx, "consul", &c) == nil && c.Epoch > epoch && c.Connected &&
			pod.Status(ctx, "xds", &x) == nil && x.UpstreamConnected
	}
}

// expectStreamKept checks that Envoy's stream to podplane was opened once and
// never ended, from both ends of it.
func expectStreamKept(ctx context.Context, t *testing.T, pod *mesh.Pod) {
	t.Helper()
	out := pod.Output()
	if n := strings.Count(out, "envoy connected"); n != 1 {
		t.Errorf("envoy of %s opened %d streams", pod.Service.Name, n)
	}
	for _, words := range []string{"envoy disconnected", "gRPC config stream closed", "gRPC config stream to"} {
		if strings.Contains(out, words) {
			t.Errorf("the output of %s has %q", pod.Service.Name, words)
		}
	}
	answer, err := mesh.Get(ctx, "http://"+pod.Admin+"/stats?filter=control_plane.connected_state")
	must(t, err)
	if !strings.HasSuffix(answer.Body, ": 1") {
		t.Errorf("envoy of %s: %s", pod.Service.Name, answer.Body)
	}
}

// Canary is the name of a service of which there is only an entry in the
// catalog. Its address is what changes when a test wants to see a change arrive.
const canary = "canary"

// canaryPorts makes every change a new one.
var canaryPorts atomic.Int32

// change gives the canary a new port over the given client, which may take until
// there is a leader, and returns what Envoy shows when it has heard of it.
func change(ctx context.Context, t *testing.T, client func() *consultest.Client) string {
	t.Helper()
	port := 10000 + int(canaryPorts.Add(1))
	var err error
	if mesh.Until(ctx, func(ctx context.Context) bool {
		err = client().Register(ctx, consultest.Service{Name: canary, ProxyPort: port})
		return err == nil
	}) != nil {
		t.Fatalf("no change can be made in Consul: %v", err)
	}
	return fmt.Sprintf("127.0.0.1:%d::", port)
}

// expectChange makes a change in Consul and checks that it reaches the Envoys
// of all the pods in time.
func expectChange(ctx context.Context, t *testing.T, client func() *consultest.Client, limit time.Duration, pods ...*mesh.Pod) {
	t.Helper()
	what := change(ctx, t, client)
	start := time.Now()
	for _, pod := range pods {
		within(t, patience, "a change reaches the envoy of "+pod.Service.Name, has(pod, what))
	}
	if took := time.Since(start); late(t, took, limit) {
		t.Errorf("a change arrived after %s, later than %s", took, limit)
	} else {
		t.Logf("a change arrived after %s", took.Round(time.Millisecond))
	}
}

// has tells whether the pod's Envoy has an endpoint of that address.
func has(pod *mesh.Pod, address string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, "http://"+pod.Admin+"/clusters")
		return err == nil && strings.Contains(answer.Body, address)
	}
}

// isLive tells whether the pod has an Envoy that is LIVE and not the one with
// the given process ID.
func isLive(pod *mesh.Pod, not int) func(context.Context) bool {
	return func(ctx context.Context) bool {
		if pid := pod.EnvoyPID(ctx); pid == 0 || pid == not {
			return false
		}
		return envoyState(ctx, pod) == "LIVE"
	}
}

// envoyState is the state that the pod's Envoy gives for itself.
func envoyState(ctx context.Context, pod *mesh.Pod) string {
	answer, err := mesh.Get(ctx, "http://"+pod.Admin+"/server_info")
	var info struct{ State string }
	if err != nil || json.Unmarshal([]byte(answer.Body), &info) != nil {
		return ""
	}
	return info.State
}

// startPair starts two pods, of which the first may call the second over http.
func startPair(ctx context.Context, t *testing.T, m *mesh.Mesh, prefix string) (from, to *mesh.Pod) {
	t.Helper()
	web, api := prefix+"web", prefix+"api"
	client := m.Consul.Client()
	must(t,
		client.SetProtocol(ctx, web, "http"),
		client.SetProtocol(ctx, api, "http"),
		client.SetIntention(ctx, web, api, consultest.Allow))
	to, err := m.Start(ctx, mesh.PodSpec{Name: api, Upstreams: []string{canary}})
	must(t, err)
	from, err = m.Start(ctx, mesh.PodSpec{Name: web, Upstreams: []string{api, canary}})
	must(t, err, from.WaitReady(ctx), to.WaitReady(ctx))
	expectAnswer(ctx, t, from, api)
	return from, to
}

// metric is the value of one series of a pod's own metrics; 0 if there is none.
func metric(ctx context.Context, t *testing.T, pod *mesh.Pod, series string) float64 {
	t.Helper()
	answer, err := mesh.Get(ctx, "http://"+pod.Metrics+"/stats/prometheus")
	must(t, err)
	for line := range strings.Lines(answer.Body) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), series+" "); found {
			n, err := strconv.ParseFloat(value, 64)
			must(t, err)
			return n
		}
	}
	return 0
}
