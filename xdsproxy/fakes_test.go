// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"bytes"
	"context"
	"net"
	"os"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"
)

const patience = 2 * time.Minute

type (
	deltaRequest  = discoveryv3.DeltaDiscoveryRequest
	deltaResponse = discoveryv3.DeltaDiscoveryResponse
)

// consul is a delta ADS server whose answers a test writes by hand.
type consul struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	t       *testing.T
	streams chan *consulStream
	conn    *grpc.ClientConn
	done    chan struct{}
}

type consulStream struct {
	t        *testing.T
	stream   discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	requests chan *deltaRequest
	end      chan error
}

func newConsul(t *testing.T) *consul {
	t.Helper()
	c := &consul{t: t, streams: make(chan *consulStream, 16), done: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(1<<30), grpc.WaitForHandlers(true))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, c)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	c.conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(c.done)
		_ = c.conn.Close()
		g.Stop()
		<-served
	})
	return c
}

func (c *consul) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	cs := &consulStream{t: c.t, stream: stream, requests: make(chan *deltaRequest, 64), end: make(chan error, 1)}
	go func() {
		defer close(cs.requests)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case cs.requests <- r:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	select {
	case c.streams <- cs:
	case <-c.done:
		return nil
	}
	select {
	case err := <-cs.end:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	case <-c.done:
		return nil
	}
}

// next waits for the next stream that the proxy opens.
func (c *consul) next() *consulStream {
	c.t.Helper()
	return within(c.t, c.streams, "an upstream stream")
}

func (s *consulStream) receive() *deltaRequest {
	s.t.Helper()
	return within(s.t, s.requests, "a request at the server")
}

func (s *consulStream) send(r *deltaResponse) {
	s.t.Helper()
	if err := s.stream.Send(r); err != nil {
		s.t.Fatal(err)
	}
}

func within[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no sign of %s after %s", what, patience)
		panic("unreachable")
	}
}

// envoy is the client end of a delta ADS stream, driven by hand.
type envoy struct {
	t      *testing.T
	conn   *grpc.ClientConn
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (p *proxy) envoy(ctx context.Context) *envoy {
	p.t.Helper()
	conn := p.dial()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return &envoy{t: p.t, conn: conn, stream: stream}
}

func (p *proxy) dial() *grpc.ClientConn {
	p.t.Helper()
	addr := p.server.Addr()
	target := addr.String()
	if addr.Network() == "unix" {
		target = "passthrough:///" + target
	}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, addr.Network(), addr.String())
		}))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (e *envoy) send(r *deltaRequest) {
	e.t.Helper()
	if err := e.stream.Send(r); err != nil {
		e.t.Fatal(err)
	}
}

func (e *envoy) receive() *deltaResponse {
	e.t.Helper()
	type result struct {
		r   *deltaResponse
		err error
	}
	got := make(chan result, 1)
	go func() {
		r, err := e.stream.Recv()
		got <- result{r, err}
	}()
	res := within(e.t, got, "a response at envoy")
	if res.err != nil {
		e.t.Fatal(res.err)
	}
	return res.r
}

// ack accepts a response.
func (e *envoy) ack(r *deltaResponse) {
	e.t.Helper()
	e.send(&deltaRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
}

func (e *envoy) nack(r *deltaResponse, reason string) {
	e.t.Helper()
	e.send(&deltaRequest{
		TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(),
		ErrorDetail: &rpcstatus.Status{Code: 13, Message: reason},
	})
}

func (e *envoy) close() {
	e.t.Helper()
	if err := e.conn.Close(); err != nil {
		e.t.Fatal(err)
	}
}

// proxy is a Server under test.
type proxy struct {
	t      *testing.T
	server *Server
	ended  chan error
}

func startProxy(t *testing.T, config Config) *proxy {
	t.Helper()
	if config.PeerPID == nil {
		config.PeerPID = os.Getpid
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}})
	s, err := New(config, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := &proxy{t: t, server: s, ended: make(chan error, 1)}
	go func() { p.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-p.ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	return p
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b))
	return len(b), nil
}

// eventually waits for a condition that no channel tells of.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

func testNode() *corev3.Node { return &corev3.Node{Id: "web-sidecar-proxy", Cluster: "web"} }

func resourceOf(name, version, body string) *discoveryv3.Resource {
	return &discoveryv3.Resource{
		Name: name, Version: version,
		Resource: &anypb.Any{TypeUrl: clusterType, Value: []byte(body)},
	}
}

// whole gives the bytes of a resource, wherever they are.
func (r resource) whole() []byte { return append(bytes.Clone(r.small), r.large.Materialize()...) }
