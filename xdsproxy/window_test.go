// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// overheard is a connection whose incoming bytes are copied.
type overheard struct {
	net.Conn
	copied *io.PipeWriter
}

func (o overheard) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	_, _ = o.copied.Write(b[:n])
	if err != nil {
		_ = o.copied.CloseWithError(err)
	}
	return n, err
}

// TestEnvoyIsNotPinged: gRPC's search for the best window would cost a ping with
// every request, and a wider one than it begins with is not needed, not for a
// request that is larger than it either.
func TestEnvoyIsNotPinged(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	var pings atomic.Int32
	counted := make(chan struct{})
	conn, err := grpc.NewClient("passthrough:///"+p.server.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			raw, err := (&net.Dialer{}).DialContext(ctx, "unix", address)
			if err != nil {
				return nil, err
			}
			out, in := io.Pipe()
			go func() {
				defer close(counted)
				frames := http2.NewFramer(io.Discard, out)
				for {
					f, err := frames.ReadFrame()
					var broken http2.StreamError
					if err != nil && !errors.As(err, &broken) {
						_ = out.CloseWithError(err)
						return
					}
					if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() {
						pings.Add(1)
					}
				}
			}()
			return overheard{raw, in}, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := &envoy{t: t, conn: conn, stream: stream}
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	up := server.next()
	up.receive()
	for range 10 {
		e.send(&deltaRequest{TypeUrl: clusterType, ResourceNamesSubscribe: []string{strings.Repeat("x", 2*requestWindow)}})
		up.receive()
	}
	e.close()
	within(t, counted, "the connection's end")
	if n := pings.Load(); n > 0 {
		t.Errorf("envoy was pinged %d times", n)
	}
}
