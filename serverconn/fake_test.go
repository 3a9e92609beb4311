// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbacl"
	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"github.com/hashicorp/consul/proto-public/pbserverdiscovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"podplane/integration/ports"
)

// fakeConsul is a cluster of servers with one state, as far as a session sees
// them. Its servers listen on 127.0.0.1, 127.0.0.2, 127.0.0.3 and one port, which
// nobody else gets while a server is stopped.
type fakeConsul struct {
	mu        sync.Mutex
	port      int
	servers   map[string]*fakeServer
	acls      bool
	tokens    map[string]bool
	bearers   map[string]bool
	watchers  map[chan struct{}]struct{} // poked when a token is gone
	logins    []*pbacl.LoginRequest
	logouts   []string
	loginErr  error
	unknown   string          // what is said of a token that is not known
	denies    map[string]bool // secrets that may not open streams
	features  []pbdataplane.DataplaneFeatures
	bootstrap func(*pbdataplane.GetEnvoyBootstrapParamsRequest) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error)
	asked     metadata.MD // with the last question for bootstrap parameters
	creds     credentials.TransportCredentials
}

// fakeServer is one of them.
type fakeServer struct {
	pbdataplane.UnimplementedDataplaneServiceServer
	pbacl.UnimplementedACLServiceServer
	pbserverdiscovery.UnimplementedServerDiscoveryServiceServer
	consul *fakeConsul
	ip     string
	grpc   *grpc.Server
	served chan struct{}
	// frozen holds requests while it is locked for writing.
	frozen  sync.RWMutex
	waiting atomic.Int32 // logins under way
	mute    atomic.Bool  // logouts are not answered
	allowed atomic.Int64 // what the last of those would have waited, in nanoseconds
	// lagging is how many more requests get the answer of a server that has not
	// caught up with the others.
	lagging atomic.Int32
	lag     string // that answer
}

func newFakeConsul(t *testing.T, opts ...func(*fakeConsul)) *fakeConsul {
	t.Helper()
	c := &fakeConsul{
		servers:  make(map[string]*fakeServer),
		tokens:   make(map[string]bool),
		bearers:  make(map[string]bool),
		watchers: make(map[chan struct{}]struct{}),
		features: []pbdataplane.DataplaneFeatures{
			pbdataplane.DataplaneFeatures_DATAPLANE_FEATURES_WATCH_SERVERS,
			pbdataplane.DataplaneFeatures_DATAPLANE_FEATURES_ENVOY_BOOTSTRAP_CONFIGURATION,
		},
	}
	for _, opt := range opts {
		opt(c)
	}
	block, err := ports.Reserve(1, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(block.Release)
	c.port = block.Next()
	c.start(t, "127.0.0.1")
	t.Cleanup(func() {
		for _, ip := range slices.Collect(maps.Keys(c.servers)) {
			c.stop(ip)
		}
	})
	return c
}

func withACLs(c *fakeConsul) { c.acls = true }

func (c *fakeConsul) start(t *testing.T, ip string) {
	t.Helper()
	c.startWith(t, ip, func(*fakeServer) {})
}

func (c *fakeConsul) startWith(t *testing.T, ip string, adjust func(*fakeServer)) *fakeServer {
	t.Helper()
	var listener net.Listener
	eventually(t, "port free", func() bool {
		var err error
		listener, err = net.Listen("tcp", fmt.Sprintf("%s:%d", ip, c.port))
		return err == nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	var opts []grpc.ServerOption
	if c.creds != nil {
		opts = append(opts, grpc.Creds(c.creds))
	}
	s := &fakeServer{consul: c, ip: ip, grpc: grpc.NewServer(opts...), served: make(chan struct{})}
	adjust(s)
	pbdataplane.RegisterDataplaneServiceServer(s.grpc, s)
	pbacl.RegisterACLServiceServer(s.grpc, s)
	pbserverdiscovery.RegisterServerDiscoveryServiceServer(s.grpc, s)
	c.servers[ip] = s
	go func() {
		defer close(s.served)
		_ = s.grpc.Serve(listener)
	}()
	return s
}

// stop kills a server.
func (c *fakeConsul) stop(ip string) {
	c.mu.Lock()
	s := c.servers[ip]
	delete(c.servers, ip)
	c.mu.Unlock()
	s.grpc.Stop()
	<-s.served
}

func (c *fakeConsul) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *fakeConsul) addToken(secret string) { c.do(func() { c.tokens[secret] = true }) }

func (c *fakeConsul) deleteToken(secret string) {
	c.do(func() {
		delete(c.tokens, secret)
		for ch := range c.watchers {
			poke(ch)
		}
	})
}

func (c *fakeConsul) liveTokens() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.tokens))
}

func (c *fakeConsul) loginCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.logins)
}

// admit is what every request goes through.
func (s *fakeServer) admit(ctx context.Context) error {
	s.frozen.RLock()
	defer s.frozen.RUnlock()
	if s.lagging.Add(-1) >= 0 {
		return status.Error(codes.Unauthenticated, s.lag)
	}
	c := s.consul
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.acls {
		return nil
	}
	values := metadata.ValueFromIncomingContext(ctx, tokenKey)
	if len(values) == 0 {
		return status.Error(codes.Unauthenticated, "An ACL token must be provided")
	}
	if !c.tokens[values[0]] {
		return status.Error(codes.Unauthenticated, cmp.Or(c.unknown, "unauthenticated: ACL not found"))
	}
	return nil
}

func (s *fakeServer) GetSupportedDataplaneFeatures(ctx context.Context, _ *pbdataplane.GetSupportedDataplaneFeaturesRequest) (*pbdataplane.GetSupportedDataplaneFeaturesResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	s.consul.mu.Lock()
	defer s.consul.mu.Unlock()
	response := &pbdataplane.GetSupportedDataplaneFeaturesResponse{}
	for _, f := range s.consul.features {
		response.SupportedDataplaneFeatures = append(response.SupportedDataplaneFeatures,
			&pbdataplane.DataplaneFeatureSupport{FeatureName: f, Supported: true})
	}
	return response, nil
}

func (s *fakeServer) GetEnvoyBootstrapParams(ctx context.Context, r *pbdataplane.GetEnvoyBootstrapParamsRequest) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	s.consul.mu.Lock()
	answer := s.consul.bootstrap
	s.consul.asked, _ = metadata.FromIncomingContext(ctx)
	s.consul.mu.Unlock()
	if answer == nil {
		return &pbdataplane.GetEnvoyBootstrapParamsResponse{Service: r.ServiceId, NodeName: s.ip}, nil //nolint:staticcheck // as servers before 1.16
	}
	return answer(r)
}

func (s *fakeServer) Login(ctx context.Context, r *pbacl.LoginRequest) (*pbacl.LoginResponse, error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	s.frozen.RLock()
	defer s.frozen.RUnlock()
	c := s.consul
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, r)
	if c.loginErr != nil {
		return nil, c.loginErr
	}
	if !c.bearers[r.BearerToken] {
		return nil, status.Error(codes.Unauthenticated, "invalid bearer token")
	}
	n := len(c.logins)
	secret := fmt.Sprintf("secret-%d", n)
	c.tokens[secret] = true
	return &pbacl.LoginResponse{Token: &pbacl.LoginToken{AccessorId: fmt.Sprintf("accessor-%d", n), SecretId: secret}}, nil
}

func (s *fakeServer) Logout(ctx context.Context, r *pbacl.LogoutRequest) (*pbacl.LogoutResponse, error) {
	if s.mute.Load() {
		deadline, _ := ctx.Deadline()
		s.allowed.Store(int64(time.Until(deadline)))
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.consul.do(func() { s.consul.logouts = append(s.consul.logouts, r.Token) })
	s.consul.deleteToken(r.Token)
	return &pbacl.LogoutResponse{}, nil
}

// WatchServers lists the servers once, and ends when the token is gone.
func (s *fakeServer) WatchServers(_ *pbserverdiscovery.WatchServersRequest, stream pbserverdiscovery.ServerDiscoveryService_WatchServersServer) error {
	if err := s.admit(stream.Context()); err != nil {
		return err
	}
	c := s.consul
	if s.isDenied(stream.Context()) {
		return errDenied
	}
	gone := make(chan struct{}, 1)
	response := &pbserverdiscovery.WatchServersResponse{}
	c.do(func() {
		c.watchers[gone] = struct{}{}
		for ip := range c.servers {
			response.Servers = append(response.Servers, &pbserverdiscovery.Server{Id: ip, Address: ip})
		}
	})
	defer c.do(func() { delete(c.watchers, gone) })
	if err := stream.Send(response); err != nil {
		return err
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-gone:
			if err := s.admit(stream.Context()); err != nil {
				return err
			}
			if s.isDenied(stream.Context()) {
				return errDenied
			}
		}
	}
}

var errDenied = status.Error(codes.PermissionDenied, "lacks permission 'service:write'")

func (s *fakeServer) isDenied(ctx context.Context) bool {
	s.consul.mu.Lock()
	defer s.consul.mu.Unlock()
	secret := metadata.ValueFromIncomingContext(ctx, tokenKey)
	return len(secret) > 0 && s.consul.denies[secret[0]]
}

// deny takes from a token what streams need.
func (c *fakeConsul) deny(secret string) {
	c.do(func() {
		if c.denies == nil {
			c.denies = make(map[string]bool)
		}
		c.denies[secret] = true
		for ch := range c.watchers {
			poke(ch)
		}
	})
}

// patience is for the machine: no test takes as long.
const patience = time.Minute

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}
