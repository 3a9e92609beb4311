// SPDX-License-Identifier: MPL-2.0

//nolint:staticcheck // see http2.go.
package traffic

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// h2cBackend speaks HTTP/1.1 and HTTP/2 without TLS.
func h2cBackend(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(h2c.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Proto, r.URL.Path, body)
		w.Header().Set("X-Sum", fmt.Sprint(len(body)))
	}), &http2.Server{}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// h2Client speaks HTTP/2 with prior knowledge.
func h2Client(t testing.TB) *http.Client {
	t.Helper()
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func TestMeshHTTP2(t *testing.T) {
	t.Parallel()
	m := newMesh(t, &mesh{protocol: "http2", backend: h2cBackend(t), rbac: denyAdmin})
	c := h2Client(t)
	resp, err := c.Post("http://"+m.entrance(t)+"/up", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(body); got != "HTTP/2.0 /up hello" {
		t.Errorf("body %q", got)
	}
	if resp.ProtoMajor != 2 || resp.Trailer.Get("X-Sum") != "5" {
		t.Errorf("%s, trailers %v", resp.Proto, resp.Trailer)
	}
	code, text, _ := get(t, c, "http://"+m.entrance(t)+"/admin")
	if code != 403 || text != "RBAC: access denied" {
		t.Errorf("%d %q", code, text)
	}
	for e, name := range map[*Engine]string{m.web: "cluster.api.consul.upstream_cx_http2_total", m.api: "http.public_listener.downstream_cx_http2_total"} {
		if got := stat(e, name); got != 1 {
			t.Errorf("%s = %d", name, got)
		}
	}
}

// TestMeshGRPC makes unary and streaming calls.
func TestMeshGRPC(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	checker := health.NewServer()
	healthpb.RegisterHealthServer(s, checker)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	m := newMesh(t, &mesh{protocol: "grpc", backend: ln.Addr().String(), rbac: denyNone})
	cc, err := grpc.NewClient("passthrough:///"+m.entrance(t), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	client := healthpb.NewHealthClient(cc)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v", err)
	}
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		got, err := watch.Recv()
		if err != nil || got.GetStatus() != want {
			t.Fatalf("%v, %v; want %v", got, err, want)
		}
		checker.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	}
	m.setIntentions(t, denyWeb)
	eventually(t, "denied", func() bool {
		_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		return status.Code(err) == codes.PermissionDenied
	})
	const method = "cluster.local_app.grpc.grpc.health.v1.Health.Check."
	eventually(t, "grpc_stats", func() bool {
		return stat(m.api, method+"success") >= 1 && stat(m.api, method+"failure") == 1 && stat(m.api, method+"5") == 1
	})
}
