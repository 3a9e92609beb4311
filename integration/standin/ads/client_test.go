// SPDX-License-Identifier: MPL-2.0

package ads_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"podplane/integration/standin/ads"
	"podplane/integration/standin/ads/adstest"
)

const (
	clusterURL  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointURL = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerURL = "type.googleapis.com/envoy.config.listener.v3.Listener"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHandler records what it is given and refuses on demand.
type fakeHandler struct {
	mu      sync.Mutex
	names   []string
	refuse  error
	added   []string
	removed []string
	lost    int
	onApply func()
}

func (h *fakeHandler) Apply(added []*discoveryv3.Resource, removed []string) error {
	h.mu.Lock()
	for _, r := range added {
		h.added = append(h.added, r.GetName()+"@"+r.GetVersion())
	}
	h.removed = append(h.removed, removed...)
	refuse, onApply := h.refuse, h.onApply
	h.mu.Unlock()
	if onApply != nil {
		onApply()
	}
	return refuse
}

func (h *fakeHandler) Names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names
}

func (h *fakeHandler) Lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost++
}

func (h *fakeHandler) want(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names = names
}

func (h *fakeHandler) rejecting(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = err
}

func (h *fakeHandler) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.added)
}

// rig is a client of a scripted server.
type rig struct {
	server        *adstest.Server
	client        *ads.Client
	cds, eds, lds *fakeHandler
}

func newRig(t *testing.T) *rig {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "xds.sock"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{server: adstest.Start(t, l), cds: &fakeHandler{}, eds: &fakeHandler{}, lds: &fakeHandler{}}
	dial, err := ads.NewDialer(pipeCluster(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	r.client = ads.New(ads.Config{
		Cluster: "xds", Dial: dial, Metadata: metadata.Pairs("x-secret", "s3cret"),
		Node: &corev3.Node{Id: "web", UserAgentName: "envoy"},
		Types: []ads.Type{
			{URL: clusterURL, Wildcard: true, Handler: r.cds}, {URL: endpointURL, Handler: r.eds},
			{URL: listenerURL, Wildcard: true, Handler: r.lds},
		},
		RetryBase: time.Millisecond, RetryMax: 10 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

func pipeCluster(path string) *clusterv3.Cluster {
	return &clusterv3.Cluster{Name: "xds", LoadAssignment: &endpointv3.ClusterLoadAssignment{
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}},
			}},
		}}}},
	}}
}

func cluster(t *testing.T, name, version string) *discoveryv3.Resource {
	t.Helper()
	return adstest.Resource(t, name, version, &clusterv3.Cluster{Name: name})
}

func assignment(t *testing.T, name, version string) *discoveryv3.Resource {
	t.Helper()
	return adstest.Resource(t, name, version, &endpointv3.ClusterLoadAssignment{ClusterName: name})
}

func TestWildcardThenNamesThenAcknowledgement(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.client.Start(clusterURL)
	s := r.server.Accept()
	if got := s.Metadata.Get("x-secret"); !slices.Equal(got, []string{"s3cret"}) {
		t.Errorf("metadata x-secret = %v", got)
	}
	if got := s.Metadata.Get(":authority"); !slices.Equal(got, []string{"xds"}) {
		t.Errorf(":authority = %v, want the cluster's name", got)
	}
	first := s.Recv()
	if first.GetTypeUrl() != clusterURL || len(first.GetResourceNamesSubscribe()) != 0 || len(first.GetInitialResourceVersions()) != 0 {
		t.Fatalf("first request = %v, want an empty subscription to clusters", first)
	}
	if first.GetNode().GetId() != "web" || first.GetNode().GetUserAgentName() != "envoy" {
		t.Errorf("node = %v", first.GetNode())
	}

	r.cds.mu.Lock()
	r.cds.onApply = func() { r.eds.want("api", "db") }
	r.cds.mu.Unlock()
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterURL, Nonce: "n1", Resources: []*discoveryv3.Resource{cluster(t, "api", "1"), cluster(t, "db", "1")}})

	eds := s.Recv()
	if eds.GetTypeUrl() != endpointURL || !slices.Equal(eds.GetResourceNamesSubscribe(), []string{"api", "db"}) {
		t.Fatalf("second request = %v, want the endpoints of both clusters", eds)
	}
	ack := s.Recv()
	if ack.GetTypeUrl() != clusterURL || ack.GetResponseNonce() != "n1" || ack.GetErrorDetail() != nil {
		t.Fatalf("third request = %v, want the ACK of n1", ack)
	}
	if got := r.cds.seen(); !slices.Equal(got, []string{"api@1", "db@1"}) {
		t.Errorf("applied = %v", got)
	}

	// The next change of names travels with nothing else.
	r.eds.want("db", "cache")
	r.client.Refresh()
	change := s.Recv()
	if !slices.Equal(change.GetResourceNamesSubscribe(), []string{"cache"}) || !slices.Equal(change.GetResourceNamesUnsubscribe(), []string{"api"}) {
		t.Fatalf("change = %v, want cache in and api out", change)
	}
}

func TestRefusedResponse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		refuse error
		resp   *discoveryv3.DeltaDiscoveryResponse
		want   string
	}{
		"by the handler": {
			refuse: errors.New("cluster a: no such filter x"),
			resp:   &discoveryv3.DeltaDiscoveryResponse{Resources: []*discoveryv3.Resource{cluster(t, "a", "1")}},
			want:   "cluster a: no such filter x",
		},
		"a name twice": {
			resp: &discoveryv3.DeltaDiscoveryResponse{Resources: []*discoveryv3.Resource{cluster(t, "a", "1"), cluster(t, "a", "2")}},
			want: "duplicate name a found among added/updated resources",
		},
		"added and removed": {
			resp: &discoveryv3.DeltaDiscoveryResponse{Resources: []*discoveryv3.Resource{cluster(t, "a", "1")}, RemovedResources: []string{"a"}},
			want: "duplicate name a found in the union of added+removed resources",
		},
		"another type": {
			resp: &discoveryv3.DeltaDiscoveryResponse{Resources: []*discoveryv3.Resource{assignment(t, "a", "1")}},
			want: "does not match the message-wide type URL",
		},
		"a long reason": {
			refuse: errors.New(strings.Repeat("x", 5000)),
			resp:   &discoveryv3.DeltaDiscoveryResponse{},
			want:   "...(truncated)",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.cds.rejecting(tc.refuse)
			r.client.Start(clusterURL)
			s := r.server.Accept()
			s.Recv()
			tc.resp.TypeUrl, tc.resp.Nonce = clusterURL, "n1"
			s.Send(tc.resp)
			nack := s.Recv()
			if nack.GetResponseNonce() != "n1" || nack.GetErrorDetail() == nil {
				t.Fatalf("answer = %v, want a NACK", nack)
			}
			if got := nack.GetErrorDetail(); !strings.Contains(got.GetMessage(), tc.want) || codes.Code(got.GetCode()) != codes.Internal {
				t.Errorf("error detail = %v, want %q", got, tc.want)
			}
		})
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.client.Start(clusterURL)
	r.eds.want("api", "db")
	s := r.server.Accept()
	s.Recv()
	s.Recv()
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterURL, Nonce: "1", Resources: []*discoveryv3.Resource{cluster(t, "api", "c1"), cluster(t, "db", "c1")}})
	s.Recv()
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: endpointURL, Nonce: "2", Resources: []*discoveryv3.Resource{assignment(t, "api", "e1"), assignment(t, "stranger", "e1")}})
	s.Recv()
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterURL, Nonce: "3", RemovedResources: []string{"db"}})
	s.Recv()
	// What is refused is not held.
	r.cds.rejecting(errors.New("no"))
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterURL, Nonce: "4", Resources: []*discoveryv3.Resource{cluster(t, "new", "c2")}})
	s.Recv()
	s.End(status.Error(codes.Unavailable, "bye"))

	s = r.server.Accept()
	cds := s.Recv()
	if cds.GetTypeUrl() != clusterURL || len(cds.GetResourceNamesSubscribe()) != 0 || cds.GetResponseNonce() != "" {
		t.Errorf("first = %v, want a wildcard of clusters", cds)
	}
	if got := cds.GetInitialResourceVersions(); len(got) != 1 || got["api"] != "c1" {
		t.Errorf("held clusters = %v, want api@c1 alone", got)
	}
	eds := s.Recv()
	if eds.GetTypeUrl() != endpointURL || !slices.Equal(eds.GetResourceNamesSubscribe(), []string{"api", "db"}) {
		t.Errorf("second = %v, want both names again", eds)
	}
	if got := eds.GetInitialResourceVersions(); len(got) != 1 || got["api"] != "e1" {
		t.Errorf("held endpoints = %v, want api@e1 alone", got)
	}
	s.Silent(50 * time.Millisecond)
	r.cds.mu.Lock()
	defer r.cds.mu.Unlock()
	if r.cds.lost != 1 {
		t.Errorf("handler told of %d losses, want 1", r.cds.lost)
	}
}

func TestListenersOnlyWhenStarted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.server.Accept()
	s.Silent(50 * time.Millisecond)
	r.client.Start(clusterURL)
	if got := s.Recv().GetTypeUrl(); got != clusterURL {
		t.Fatalf("first type = %s", got)
	}
	s.Silent(50 * time.Millisecond)
	r.client.Start(listenerURL)
	if got := s.Recv().GetTypeUrl(); got != listenerURL {
		t.Fatalf("second type = %s", got)
	}
	// An unknown type is dropped and not answered.
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: "type.googleapis.com/x.Y", Nonce: "1"})
	s.Silent(50 * time.Millisecond)
}

func TestNoLimitOnMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.client.Start(clusterURL)
	s := r.server.Accept()
	s.Recv()
	big := adstest.Resource(t, "big", "1", &clusterv3.Cluster{Name: "big", AltStatName: strings.Repeat("x", 8<<20)})
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterURL, Nonce: "1", Resources: []*discoveryv3.Resource{big}})
	if ack := s.Recv(); ack.GetErrorDetail() != nil || ack.GetResponseNonce() != "1" {
		t.Fatalf("answer = %v, want an ACK", ack)
	}
}

func TestReconnectsUntilThereIsAServer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "late.sock")
	dial, err := ads.NewDialer(pipeCluster(path))
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHandler{}
	client := ads.New(ads.Config{
		Cluster: "xds", Dial: dial, Node: &corev3.Node{}, RetryBase: time.Millisecond, RetryMax: 5 * time.Millisecond,
		Types: []ads.Type{{URL: clusterURL, Wildcard: true, Handler: h}},
	})
	client.Start(clusterURL)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	lost := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.lost > 0
	}
	// The type counts as subscribed only after a stream; before, nothing is lost.
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := adstest.Start(t, l).Accept()
	s.Recv()
	if lost() {
		t.Error("a loss was reported before there was a stream")
	}
}

func TestNewDialerRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cluster *clusterv3.Cluster
		want    string
	}{
		"no endpoints": {&clusterv3.Cluster{Name: "x"}, "no endpoints"},
		"EDS":          {&clusterv3.Cluster{Name: "x", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}}, "type EDS"},
		"TLS":          {&clusterv3.Cluster{Name: "x", TransportSocket: &corev3.TransportSocket{Name: "tls"}}, "transport socket tls"},
		"no address": {&clusterv3.Cluster{Name: "x", LoadAssignment: &endpointv3.ClusterLoadAssignment{
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{}}}},
		}}, "neither a socket address nor a pipe"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ads.NewDialer(tc.cluster)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want %q", err, tc.want)
			}
		})
	}
}
