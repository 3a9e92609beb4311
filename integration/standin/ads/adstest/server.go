// SPDX-License-Identifier: MPL-2.0

// Package adstest is a control plane that does what a test tells it, message by
// message.
//
// It owns a gRPC server with the delta ADS method. It keeps no state of
// resources and answers nothing by itself: a test takes each stream, reads each
// request and sends each response.
package adstest

import (
	"net"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// patience is how long a test waits for anything.
const patience = 10 * time.Second

// Server is a scripted control plane.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	tb      testing.TB
	grpc    *grpc.Server
	addr    net.Addr
	streams chan *Stream
}

// Start serves on the listener until the test ends.
func Start(tb testing.TB, l net.Listener) *Server {
	tb.Helper()
	s := &Server{tb: tb, grpc: grpc.NewServer(), addr: l.Addr(), streams: make(chan *Stream)}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s.grpc, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.grpc.Serve(l); err != nil {
			tb.Errorf("adstest: serve: %v", err)
		}
	}()
	tb.Cleanup(func() {
		s.Stop()
		<-served
	})
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.addr }

// Stop drops every connection. It may be called more than once.
func (s *Server) Stop() { s.grpc.Stop() }

// Accept takes the next stream.
func (s *Server) Accept() *Stream {
	s.tb.Helper()
	select {
	case stream := <-s.streams:
		return stream
	case <-time.After(patience):
		s.tb.Fatal("adstest: no stream was opened")
		return nil
	}
}

// DeltaAggregatedResources hands the stream to the test; it implements the
// service.
func (s *Server) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	md, _ := metadata.FromIncomingContext(g.Context())
	stream := &Stream{tb: s.tb, Metadata: md, grpc: g, requests: make(chan *discoveryv3.DeltaDiscoveryRequest, 64), end: make(chan error, 1)}
	select {
	case s.streams <- stream:
	case <-g.Context().Done():
		return nil
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(stream.requests)
		for {
			req, err := g.Recv()
			if err != nil {
				return
			}
			stream.requests <- req
		}
	}()
	select {
	case err := <-stream.end:
		return err // ends the stream, and with it the reader
	case <-read:
		return nil
	}
}

// Stream is one stream in the hands of a test.
type Stream struct {
	Metadata metadata.MD

	tb       testing.TB
	grpc     discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	requests chan *discoveryv3.DeltaDiscoveryRequest
	end      chan error
}

// Recv takes the next request.
func (s *Stream) Recv() *discoveryv3.DeltaDiscoveryRequest {
	s.tb.Helper()
	select {
	case req, ok := <-s.requests:
		if !ok {
			s.tb.Fatal("adstest: the client ended the stream")
		}
		return req
	case <-time.After(patience):
		s.tb.Fatal("adstest: no request came")
		return nil
	}
}

// Silent fails the test if a request comes within d.
func (s *Stream) Silent(d time.Duration) {
	s.tb.Helper()
	select {
	case req, ok := <-s.requests:
		if ok {
			s.tb.Fatalf("adstest: unexpected request: %v", req)
		}
	case <-time.After(d):
	}
}

// Ended waits until the client has ended the stream.
func (s *Stream) Ended() {
	s.tb.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-s.requests:
			if !ok {
				return
			}
		case <-deadline:
			s.tb.Fatal("adstest: the client kept the stream")
		}
	}
}

// Send sends a response.
func (s *Stream) Send(resp *discoveryv3.DeltaDiscoveryResponse) {
	s.tb.Helper()
	if err := s.grpc.Send(resp); err != nil {
		s.tb.Fatalf("adstest: send: %v", err)
	}
}

// End ends the stream with a status.
func (s *Stream) End(err error) { s.end <- err }

// Resource wraps a message as the server sends it.
func Resource(tb testing.TB, name, version string, body proto.Message) *discoveryv3.Resource {
	tb.Helper()
	a, err := anypb.New(body)
	if err != nil {
		tb.Fatalf("adstest: wrap %s: %v", name, err)
	}
	return &discoveryv3.Resource{Name: name, Version: version, Resource: a}
}
