// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// TestStrangers are processes beside Envoy, of the same user, that ask for its
// configuration: this one is.
func TestStrangers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, consultest.Options{TLS: true, JWT: true})
	t.Run("unix socket", func(t *testing.T) {
		t.Parallel()
		pod, address := startForStrangers(t, m, "unix-web")
		conn, err := net.Dial("unix", address)
		must(t, err)
		defer func() { _ = conn.Close() }()
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		if data, err := io.ReadAll(conn); len(data) > 0 || (err != nil && !strings.Contains(err.Error(), "reset")) {
			t.Errorf("the socket said %q: %v", data, err)
		}
		askForClusters(t, "unix-abstract:"+strings.TrimPrefix(address, "@"), "", codes.Unavailable)
		expectLine(t, pod, "refused a process on the xds socket")
		expectRefusals(t, pod, "peer")
	})
	t.Run("tcp", func(t *testing.T) {
		t.Parallel()
		pod, address := startForStrangers(t, m, "tcp-web", "-xds-bind-addr", "127.0.0.1")
		askForClusters(t, "passthrough:///"+address, "", codes.Unauthenticated)
		askForClusters(t, "passthrough:///"+address, "a guess", codes.Unauthenticated)
		expectLine(t, pod, "refused a peer on the xds listener")
		expectRefusals(t, pod, "secret")
	})
}

// startForStrangers starts a pod and gives the address of its xDS listener.
func startForStrangers(t *testing.T, m *mesh.Mesh, name string, args ...string) (pod *mesh.Pod, address string) {
	t.Helper()
	ctx := bounded(t)
	pod, err := m.Start(ctx, mesh.PodSpec{Name: name, Args: args})
	must(t, err, pod.WaitReady(ctx))
	found := regexp.MustCompile(`serving xds: address=(\S+)`).FindStringSubmatch(pod.Output())
	if found == nil {
		t.Fatal("the output does not tell the address")
	}
	return pod, found[1]
}

// askForClusters opens a stream as Envoy does, and compares how it ends.
func askForClusters(t *testing.T, target, secret string, want codes.Code) {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if secret != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-podplane-secret", secret)
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err == nil {
		_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeCluster}) // the answer tells
		_, err = stream.Recv()
	}
	if status.Code(err) != want {
		t.Errorf("a stranger got %v, not %s", err, want)
	}
}

// expectRefusals checks that refusals are counted, and that Envoy goes on.
func expectRefusals(t *testing.T, pod *mesh.Pod, reason string) {
	t.Helper()
	ctx := bounded(t)
	if n := metric(ctx, t, pod, `podplane_xds_refused_total{reason="`+reason+`"}`); n < 2 {
		t.Errorf("%v refusals were counted", n)
	}
	expectStreamKept(ctx, t, pod)
}
