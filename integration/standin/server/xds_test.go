// SPDX-License-Identifier: MPL-2.0

package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"podplane/integration/standin/ads/adstest"
)

const (
	clusterURL  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	listenerURL = "type.googleapis.com/envoy.config.listener.v3.Listener"
)

func wrapped(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func localApp() *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: "local_app", ConnectTimeout: durationpb.New(1e9), ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: "local_app"},
	}
}

// tcpListener leads a free loopback port to a cluster.
func tcpListener(t *testing.T, name, cluster string) *listenerv3.Listener {
	t.Helper()
	return &listenerv3.Listener{
		Name: name,
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.tcp_proxy",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wrapped(t, &tcpv3.TcpProxy{
				StatPrefix: name, ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: cluster},
			})},
		}}}},
	}
}

// script plays the control plane's side of a start.
type script struct {
	t *testing.T
	*adstest.Stream
}

func (s script) send(url, nonce string, resources ...*discoveryv3.Resource) {
	s.t.Helper()
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: url, Nonce: nonce, Resources: resources})
}

// wants checks the next request's type and names.
func (s script) wants(url string, names ...string) *discoveryv3.DeltaDiscoveryRequest {
	s.t.Helper()
	req := s.Recv()
	if req.GetTypeUrl() != url || req.GetResponseNonce() != "" || !slices.Equal(req.GetResourceNamesSubscribe(), names) {
		s.t.Fatalf("request = %v, want a subscription of %v to %s", req, names, url)
	}
	return req
}

// acks checks that the next request is the ACK of a nonce.
func (s script) acks(url, nonce string) {
	s.t.Helper()
	if req := s.Recv(); req.GetTypeUrl() != url || req.GetResponseNonce() != nonce || req.GetErrorDetail() != nil {
		s.t.Fatalf("request = %v, want the ACK of %s for %s", req, nonce, url)
	}
}

// goesOn checks that the next two requests are the ACK of what makes the clusters
// complete and the subscription to listeners, which that sets off: in either
// order, as nothing says which of them comes first.
func (s script) goesOn(url, nonce string) {
	s.t.Helper()
	first, second := s.Recv(), s.Recv()
	if first.GetTypeUrl() == listenerURL {
		first, second = second, first
	}
	if first.GetTypeUrl() != url || first.GetResponseNonce() != nonce || first.GetErrorDetail() != nil {
		s.t.Fatalf("request = %v, want the ACK of %s for %s", first, nonce, url)
	}
	if second.GetTypeUrl() != listenerURL || second.GetResponseNonce() != "" {
		s.t.Fatalf("request = %v, want a subscription to listeners", second)
	}
}

// introduced is the beginning of the first stream: who this is, and the subscription to clusters.
func (s script) introduced() {
	s.t.Helper()
	if got := s.Metadata.Get("x-secret"); !slices.Equal(got, []string{"s"}) {
		s.t.Errorf("initial metadata = %v", got)
	}
	n := s.wants(clusterURL).GetNode()
	version := n.GetUserAgentBuildVersion().GetVersion()
	if n.GetId() != "web-sidecar-proxy" || n.GetUserAgentName() != "envoy" || version.GetMajorNumber() != 1 ||
		version.GetMinorNumber() != 35 || n.GetMetadata().GetFields()["node_name"].GetStringValue() != "n1" {
		s.t.Errorf("node = %v", n)
	}
}

func TestFromControlPlaneToLive(t *testing.T) {
	t.Parallel()
	control, path := controlPlane(t)
	p := start(t, writeConfig(t, dynamic(path)))
	s := script{t, control.Accept()}
	s.introduced()
	p.becomes("PRE_INITIALIZING")
	s.send(clusterURL, "c1", adstest.Resource(t, "local_app", "v1", localApp()))
	s.goesOn(clusterURL, "c1")
	p.becomes("INITIALIZING")
	s.send(listenerURL, "l1", adstest.Resource(t, "in", "v2", tcpListener(t, "in", "local_app")))
	s.acks(listenerURL, "l1")
	p.becomes("LIVE")

	_, dump := p.do(http.MethodGet, "/config_dump")
	for _, part := range []string{"dynamic_active_clusters", "active_state", `"version_info": "v1"`, `"version_info": "v2"`} {
		if !strings.Contains(dump, part) {
			t.Errorf("the dump lacks %s", part)
		}
	}
	_, stats := p.do(http.MethodGet, "/stats")
	for _, line := range []string{
		"cluster_manager.cds.update_success: 1", "listener_manager.lds.update_success: 1", "control_plane.connected_state: 1", "server.state: 0",
	} {
		if !strings.Contains(stats, line+"\n") {
			t.Errorf("stats lack %q", line)
		}
	}

	s.End(status.Error(codes.Unavailable, "server goes"))
	s = script{t, control.Accept()}
	if req := s.wants(clusterURL); req.GetInitialResourceVersions()["local_app"] != "v1" {
		t.Errorf("resume = %v, want the cluster held", req)
	}
	if req := s.wants(listenerURL); req.GetInitialResourceVersions()["in"] != "v2" {
		t.Errorf("resume = %v, want the listener held", req)
	}
	p.becomes("LIVE")
	p.cancel()
	s.Ended()
	p.exit()
}

func TestRefusedFirstAnswersStillLeadToLive(t *testing.T) {
	t.Parallel()
	control, path := controlPlane(t)
	p := start(t, writeConfig(t, dynamic(path)))
	s := script{t, control.Accept()}
	s.wants(clusterURL)
	invalid := &clusterv3.Cluster{Name: "", ConnectTimeout: durationpb.New(1e9)}
	s.send(clusterURL, "c1", adstest.Resource(t, "nameless", "v1", invalid))
	nack, subscription := s.Recv(), s.Recv()
	if nack.GetTypeUrl() == listenerURL { // in either order
		nack, subscription = subscription, nack
	}
	if detail := nack.GetErrorDetail().GetMessage(); nack.GetResponseNonce() != "c1" || !strings.Contains(detail, "nameless: Proto constraint validation failed") {
		t.Errorf("answer = %v, want a NACK that names the cluster", nack)
	}
	if subscription.GetTypeUrl() != listenerURL {
		t.Errorf("request = %v, want a subscription to listeners", subscription)
	}
	s.send(listenerURL, "l1")
	s.acks(listenerURL, "l1")
	p.becomes("LIVE")
	if _, body := p.do(http.MethodGet, "/stats?filter=cds.update"); !strings.Contains(body, "cluster_manager.cds.update_rejected: 1\n") {
		t.Errorf("stats = %s", body)
	}
}
