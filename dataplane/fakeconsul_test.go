// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/consul/proto-public/pbacl"
	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"github.com/hashicorp/consul/proto-public/pbserverdiscovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// The calls that a fakeConsul tells of.
const (
	callLogin     = "login"
	callLogout    = "logout"
	callBootstrap = "bootstrap"
	callADS       = "ads"
)

// fakeConsul is one Consul server as far as a dataplane sees it. The fields
// are set before it is started.
type fakeConsul struct {
	pbdataplane.UnimplementedDataplaneServiceServer
	pbacl.UnimplementedACLServiceServer
	pbserverdiscovery.UnimplementedServerDiscoveryServiceServer
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	// token is what calls must bring along; empty: nothing. A login gives it.
	token string
	// login, logout, bootstrap and ads, if set, decide about the calls of that name,
	// which fail with the error. They may block, as long as ctx allows.
	login, logout, bootstrap, ads func(ctx context.Context) error
	// proxyConfig is the registered proxy's opaque configuration.
	proxyConfig map[string]any

	address string
	port    int
	stop    func()

	mu      sync.Mutex
	called  map[string]chan struct{} // closed at the first call
	logouts []string
	proxy   *pbdataplane.GetEnvoyBootstrapParamsRequest // the last one
}

// start serves; of none, it serves one that gives what it is asked for.
func (c *fakeConsul) start(t *testing.T) *fakeConsul {
	t.Helper()
	if c == nil {
		c = &fakeConsul{}
	}
	c.address = loopback()
	c.called = map[string]chan struct{}{
		callLogin: make(chan struct{}), callLogout: make(chan struct{}),
		callBootstrap: make(chan struct{}), callADS: make(chan struct{}),
	}
	c.serve(t)
	t.Cleanup(func() { c.stop() }) // that of the last start
	return c
}

// serve starts the server, again if it was stopped.
func (c *fakeConsul) serve(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(c.address, strconv.Itoa(c.port)))
	if err != nil {
		t.Fatal(err)
	}
	c.port = l.Addr().(*net.TCPAddr).Port
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	pbdataplane.RegisterDataplaneServiceServer(g, c)
	pbacl.RegisterACLServiceServer(g, c)
	pbserverdiscovery.RegisterServerDiscoveryServiceServer(g, c)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, c)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(l)
	}()
	c.stop = func() {
		g.Stop()
		<-served
	}
}

// settings are the arguments that lead to the server.
func (c *fakeConsul) settings() []string {
	return []string{"-addresses=" + c.address, "-grpc-port=" + strconv.Itoa(c.port), "-tls-disabled"}
}

// enter notes a call and asks its function.
func (c *fakeConsul) enter(ctx context.Context, call string, decide func(context.Context) error) error {
	c.mu.Lock()
	select {
	case <-c.called[call]:
	default:
		close(c.called[call])
	}
	c.mu.Unlock()
	if decide == nil {
		return nil
	}
	return decide(ctx)
}

// admit checks a call's token as Consul does.
func (c *fakeConsul) admit(ctx context.Context) error {
	if c.token == "" {
		return nil
	}
	if given := metadata.ValueFromIncomingContext(ctx, "x-consul-token"); len(given) == 0 || given[0] != c.token {
		return status.Error(codes.Unauthenticated, "ACL not found")
	}
	return nil
}

func (c *fakeConsul) GetSupportedDataplaneFeatures(ctx context.Context, _ *pbdataplane.GetSupportedDataplaneFeaturesRequest) (*pbdataplane.GetSupportedDataplaneFeaturesResponse, error) {
	if err := c.admit(ctx); err != nil {
		return nil, err
	}
	var response pbdataplane.GetSupportedDataplaneFeaturesResponse
	for _, f := range []pbdataplane.DataplaneFeatures{
		pbdataplane.DataplaneFeatures_DATAPLANE_FEATURES_WATCH_SERVERS,
		pbdataplane.DataplaneFeatures_DATAPLANE_FEATURES_ENVOY_BOOTSTRAP_CONFIGURATION,
	} {
		response.SupportedDataplaneFeatures = append(response.SupportedDataplaneFeatures,
			&pbdataplane.DataplaneFeatureSupport{FeatureName: f, Supported: true})
	}
	return &response, nil
}

func (c *fakeConsul) WatchServers(_ *pbserverdiscovery.WatchServersRequest, stream pbserverdiscovery.ServerDiscoveryService_WatchServersServer) error {
	if err := c.admit(stream.Context()); err != nil {
		return err
	}
	list := &pbserverdiscovery.WatchServersResponse{Servers: []*pbserverdiscovery.Server{{Id: "1", Address: c.address}}}
	if err := stream.Send(list); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (c *fakeConsul) GetEnvoyBootstrapParams(ctx context.Context, r *pbdataplane.GetEnvoyBootstrapParamsRequest) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	if err := c.admit(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.proxy = r
	c.mu.Unlock()
	if err := c.enter(ctx, callBootstrap, c.bootstrap); err != nil {
		return nil, err
	}
	config, err := structpb.NewStruct(c.proxyConfig)
	if err != nil {
		return nil, err
	}
	return &pbdataplane.GetEnvoyBootstrapParamsResponse{
		Identity: "web", NodeName: "node-1", Datacenter: "dc1", Config: config,
	}, nil
}

func (c *fakeConsul) Login(ctx context.Context, _ *pbacl.LoginRequest) (*pbacl.LoginResponse, error) {
	if err := c.enter(ctx, callLogin, c.login); err != nil {
		return nil, err
	}
	return &pbacl.LoginResponse{Token: &pbacl.LoginToken{AccessorId: "accessor-1", SecretId: c.token}}, nil
}

func (c *fakeConsul) Logout(ctx context.Context, r *pbacl.LogoutRequest) (*pbacl.LogoutResponse, error) {
	if err := c.enter(ctx, callLogout, c.logout); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logouts = append(c.logouts, r.Token)
	return &pbacl.LogoutResponse{}, nil
}

// DeltaAggregatedResources gives one resource of every type that is asked for.
func (c *fakeConsul) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	if err := c.admit(stream.Context()); err != nil {
		return err
	}
	if err := c.enter(stream.Context(), callADS, c.ads); err != nil {
		return err
	}
	for n := 1; ; n++ {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if r.ResponseNonce != "" {
			continue // ACK or NACK
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryResponse{
			TypeUrl: r.TypeUrl, Nonce: strconv.Itoa(n),
			Resources: []*discoveryv3.Resource{{Name: "a", Version: "1"}},
		}); err != nil {
			return err
		}
	}
}

// refusing is what a server says whatever it is asked.
func refusing(code codes.Code, message string) func(context.Context) error {
	return func(context.Context) error { return status.Error(code, message) }
}

// hanging is a server that does not answer.
func hanging(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
