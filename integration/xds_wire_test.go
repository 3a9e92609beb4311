// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"podplane/integration/consultest"
	"podplane/integration/ports"
)

// tap is a load balancer of the test's own in front of the Consul servers: it
// ends TLS, so that it can write down what crosses the wire, sends everything to
// the server of the test's choice, and can break every connection.
type tap struct {
	listener *tappedListener
	grpc     *grpc.Server
	served   chan error
	backends []*grpc.ClientConn
	port     int

	mu      sync.Mutex
	backend int
	streams []*tappedStream
}

// tappedStream is what was said on one xDS stream.
type tappedStream struct {
	server   int
	held     map[string]int      // by type, how many resources the client said to hold
	sent     map[string][]string // by type, the names of the resources in responses
	answered map[string]bool     // by type, whether there was a response
	bytes    int                 // of all responses
}

func newTap(t *testing.T, consul *consultest.Cluster) *tap {
	t.Helper()
	block, err := ports.Reserve(1)
	must(t, err)
	t.Cleanup(block.Release)
	pair, err := consul.CA().Issue(consultest.ServerName)
	must(t, err)
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(consul.CA().PEM())
	p := &tap{served: make(chan error, 1), port: block.Next()}
	for i := range consul.Servers() {
		conn, err := grpc.NewClient("passthrough:///"+consul.GRPCAddr(i),
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: consultest.ServerName})),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(rawBytes{})))
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		p.backends = append(p.backends, conn)
	}
	l, err := net.Listen("tcp", ports.HostPort("127.0.0.1", p.port))
	must(t, err)
	p.listener = &tappedListener{Listener: l, conns: make(map[net.Conn]struct{})}
	p.grpc = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}})),
		grpc.ForceServerCodec(rawBytes{}),
		grpc.UnknownServiceHandler(p.handle))
	go func() { p.served <- p.grpc.Serve(p.listener) }()
	t.Cleanup(func() {
		p.grpc.Stop()
		<-p.served
	})
	return p
}

// use sends all new requests to a server, and breaks every connection.
func (p *tap) use(server int) {
	p.mu.Lock()
	p.backend = server
	p.mu.Unlock()
	p.listener.breakAll()
}

// last gives a copy of what was said on the last xDS stream, if it is not the
// one of the given number, and its number.
func (p *tap) last(not int) (tappedStream, int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.streams)
	if n == 0 || n == not {
		return tappedStream{}, n, false
	}
	s := *p.streams[n-1]
	s.held, s.answered = maps.Clone(s.held), maps.Clone(s.answered)
	sent := make(map[string][]string)
	for typ, names := range s.sent {
		sent[typ] = slices.Clone(names)
	}
	s.sent = sent
	return s, n, true
}

// handle passes a call of any method on to the server.
func (p *tap) handle(_ any, down grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(down)
	ctx, cancel := context.WithCancel(down.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs("x-consul-token", strings.Join(md.Get("x-consul-token"), "")))
	}
	p.mu.Lock()
	server := p.backend
	var seen *tappedStream
	if strings.HasSuffix(method, "/DeltaAggregatedResources") {
		seen = &tappedStream{
			server: server, held: make(map[string]int), sent: make(map[string][]string),
			answered: make(map[string]bool),
		}
		p.streams = append(p.streams, seen)
	}
	p.mu.Unlock()
	up, err := p.backends[server].NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	var requests sync.WaitGroup
	defer requests.Wait()
	defer cancel()
	requests.Go(func() {
		defer func() { _ = up.CloseSend() }()
		for {
			var m []byte
			if down.RecvMsg(&m) != nil {
				return
			}
			p.request(seen, m)
			if up.SendMsg(&m) != nil {
				return
			}
		}
	})
	for {
		var m []byte
		if err := up.RecvMsg(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			cancel()
			return err
		}
		p.response(seen, m)
		if err := down.SendMsg(&m); err != nil {
			return status.Error(codes.Canceled, "the client is gone")
		}
	}
}

func (p *tap) request(s *tappedStream, m []byte) {
	var r discoveryv3.DeltaDiscoveryRequest
	if s == nil || proto.Unmarshal(m, &r) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.held[r.GetTypeUrl()] += len(r.GetInitialResourceVersions())
}

func (p *tap) response(s *tappedStream, m []byte) {
	var r discoveryv3.DeltaDiscoveryResponse
	if s == nil || proto.Unmarshal(m, &r) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.bytes += len(m)
	s.answered[r.GetTypeUrl()] = true
	for _, resource := range r.GetResources() {
		s.sent[r.GetTypeUrl()] = append(s.sent[r.GetTypeUrl()], resource.GetName())
	}
}

// rawBytes passes messages through as they are.
type rawBytes struct{}

func (rawBytes) Name() string { return "proto" }

func (rawBytes) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("a tap has no message of type %T", v)
	}
	return *b, nil
}

func (rawBytes) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a tap has no message of type %T", v)
	}
	*b = slices.Clone(data)
	return nil
}

// tappedListener knows its connections.
type tappedListener struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (l *tappedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn] = struct{}{}
	return conn, nil
}

func (l *tappedListener) breakAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
	clear(l.conns)
}
