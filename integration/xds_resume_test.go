// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
	"podplane/integration/ports"
)

const (
	typeCluster  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	typeEndpoint = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	typeListener = "type.googleapis.com/envoy.config.listener.v3.Listener"
)

// TestResume looks at what crosses the wire when a stream to a server is lost
// and the next one takes over.
func TestResume(t *testing.T) {
	t.Parallel()
	const upstreams = 100
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	m := newMesh(t, three)
	wire := newTap(t, m.Consul)
	pod := startWithUpstreams(ctx, t, m, wire, upstreams)

	first, n, _ := wire.last(0)
	t.Logf("the first stream brings %d bytes: %d clusters, %d endpoints, %d listeners", first.bytes,
		len(first.sent[typeCluster]), len(first.sent[typeEndpoint]), len(first.sent[typeListener]))
	if got := len(first.sent[typeListener]); got < upstreams {
		t.Fatalf("%d listeners for %d upstreams", got, upstreams)
	}

	again := resume(ctx, t, wire, 0, n)
	t.Logf("resumed at the same server: %d bytes", again.bytes)
	for typ, names := range again.sent {
		if len(names) > 0 {
			t.Errorf("%s: unchanged resources crossed the wire: %s", typ, names)
		}
	}
	for _, typ := range []string{typeCluster, typeEndpoint, typeListener} {
		if again.held[typ] < upstreams {
			t.Errorf("%s: the server was told of %d resources that envoy holds", typ, again.held[typ])
		}
	}
	expectChange(ctx, t, m.Consul.Client, 3*time.Second, pod)

	_, n, _ = wire.last(0)
	other := resume(ctx, t, wire, 1, n)
	t.Logf("resumed at another server: %d bytes: %d clusters, %d endpoints, listeners %s", other.bytes,
		len(other.sent[typeCluster]), len(other.sent[typeEndpoint]), other.sent[typeListener])
	if slices.Contains(other.sent[typeCluster], "local_app") {
		t.Error("a cluster without a certificate crossed the wire again")
	}
	for _, name := range other.sent[typeListener] {
		if !strings.HasPrefix(name, "public_listener") {
			t.Errorf("listener %s crossed the wire again", name)
		}
	}
	expectChange(ctx, t, m.Consul.Client, 3*time.Second, pod)
	expectStreamKept(ctx, t, pod)
}

// startWithUpstreams starts a pod that has so many upstreams, and the canary,
// and reaches the servers over the tap.
func startWithUpstreams(ctx context.Context, t *testing.T, m *mesh.Mesh, wire *tap, n int) *mesh.Pod {
	t.Helper()
	pod, err := m.Prepare(mesh.PodSpec{
		Name: "web", Upstreams: []string{canary},
		Args: []string{
			"-addresses", "127.0.0.1", "-grpc-port", strconv.Itoa(wire.port), "-server-watch-disabled",
		},
	})
	must(t, err)
	var block *ports.Block
	for i := range n {
		if i%ports.Max == 0 {
			block, err = ports.Reserve(ports.Max)
			must(t, err)
			t.Cleanup(block.Release)
		}
		name := fmt.Sprintf("upstream-%d", i)
		must(t, m.Consul.Client().Register(ctx, consultest.Service{Name: name, ProxyPort: 9000 + i}))
		pod.Service.Upstreams = append(pod.Service.Upstreams,
			consultest.Upstream{DestinationName: name, LocalBindPort: block.Next()})
	}
	must(t, pod.Register(ctx), pod.StartDataplane(ctx), pod.WaitReady(ctx))
	expectChange(ctx, t, m.Consul.Client, patience, pod)
	return pod
}

// resume breaks the connection, sends the next one to a server, and waits until
// that one has answered for all types.
func resume(ctx context.Context, t *testing.T, wire *tap, server, before int) tappedStream {
	t.Helper()
	wire.use(server)
	var s tappedStream
	if mesh.Until(ctx, func(context.Context) bool {
		var ok bool
		s, _, ok = wire.last(before)
		return ok && s.answered[typeCluster] && s.answered[typeEndpoint] && s.answered[typeListener]
	}) != nil {
		t.Fatalf("no stream was resumed: %+v", s.answered)
	}
	if s.server != server {
		t.Fatalf("resumed at server %d, not %d", s.server, server)
	}
	return s
}
