// SPDX-License-Identifier: MPL-2.0

package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podplane/integration/standin/ads/adstest"
)

const (
	endpointURL = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	routeURL    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

func overADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}
}

func edsCluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS()},
	}
}

// rdsListener is an HTTP listener on a free port whose routes come by RDS.
func rdsListener(t *testing.T, name, routes string) *listenerv3.Listener {
	t.Helper()
	return &listenerv3.Listener{
		Name: name,
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wrapped(t, &hcmv3.HttpConnectionManager{
				StatPrefix:     name,
				RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: overADS(), RouteConfigName: routes}},
				HttpFilters: []*hcmv3.HttpFilter{{
					Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: wrapped(t, &routerv3.Router{})},
				}},
			})},
		}}}},
	}
}

func TestFromNothingToLive(t *testing.T) {
	t.Parallel()
	control, path := controlPlane(t)
	p := start(t, writeConfig(t, dynamic(path)))
	s := script{t, control.Accept()}
	s.introduced()
	p.becomes("PRE_INITIALIZING")
	s.send(clusterURL, "c1", adstest.Resource(t, "api", "v1", edsCluster("api")))
	s.wants(endpointURL, "api")
	s.acks(clusterURL, "c1")
	s.Silent(50 * time.Millisecond) // no listeners before the endpoints
	s.send(endpointURL, "e1", adstest.Resource(t, "api", "v1", &endpointv3.ClusterLoadAssignment{ClusterName: "api"}))
	s.goesOn(endpointURL, "e1")
	p.becomes("INITIALIZING")
	s.send(listenerURL, "l1", adstest.Resource(t, "out", "v1", rdsListener(t, "out", "api-routes")))
	s.wants(routeURL, "api-routes")
	s.acks(listenerURL, "l1")
	p.becomes("INITIALIZING")
	s.send(routeURL, "r1", adstest.Resource(t, "api-routes", "v1", &routev3.RouteConfiguration{Name: "api-routes"}))
	s.acks(routeURL, "r1")
	p.becomes("LIVE")

	_, dump := p.do(http.MethodGet, "/config_dump?include_eds")
	for _, part := range []string{"dynamic_endpoint_configs", "dynamic_active_clusters", "active_state", "dynamic_route_configs", `"version_info": "v1"`} {
		if !strings.Contains(dump, part) {
			t.Errorf("the dump lacks %s", part)
		}
	}
	if _, without := p.do(http.MethodGet, "/config_dump"); strings.Contains(without, "dynamic_endpoint_configs") {
		t.Error("endpoints in a dump that was not to have them")
	}
	_, stats := p.do(http.MethodGet, "/stats")
	for _, line := range []string{
		"cluster_manager.active_clusters: 2", "cluster_manager.cds.update_success: 1", "listener_manager.lds.update_success: 1",
		"listener_manager.total_listeners_active: 1", "control_plane.connected_state: 1", "server.state: 0",
	} {
		if !strings.Contains(stats, line+"\n") {
			t.Errorf("stats lack %q", line)
		}
	}

	// A cluster that goes takes its subscription with it.
	s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterURL, Nonce: "c2", RemovedResources: []string{"api"}})
	if req := s.Recv(); req.GetTypeUrl() != endpointURL || !slices.Equal(req.GetResourceNamesUnsubscribe(), []string{"api"}) {
		t.Errorf("request = %v, want api unsubscribed", req)
	}
	s.acks(clusterURL, "c2")

	s.End(status.Error(codes.Unavailable, "server goes"))
	s = script{t, control.Accept()}
	s.wants(clusterURL)
	if req := s.wants(listenerURL); req.GetInitialResourceVersions()["out"] != "v1" {
		t.Errorf("resume = %v, want the listener held", req)
	}
	if req := s.wants(routeURL, "api-routes"); req.GetInitialResourceVersions()["api-routes"] != "v1" {
		t.Errorf("resume = %v, want the routes held", req)
	}
	p.becomes("LIVE")
	p.cancel()
	s.Ended()
	p.exit()
}

func TestUnknownFilterIsRefusedByName(t *testing.T) {
	t.Parallel()
	control, path := controlPlane(t)
	p := start(t, writeConfig(t, dynamic(path)))
	s := script{t, control.Accept()}
	s.wants(clusterURL)
	s.send(clusterURL, "c1")
	s.goesOn(clusterURL, "c1")
	odd := rdsListener(t, "odd", "r")
	odd.FilterChains[0].Filters[0].Name = "acme.filters.odd"
	odd.FilterChains[0].Filters[0].ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: wrapped(t, &endpointv3.ClusterLoadAssignment{ClusterName: "x"})}
	s.send(listenerURL, "l1", adstest.Resource(t, "odd", "v1", odd))
	nack := s.Recv()
	if detail := nack.GetErrorDetail().GetMessage(); nack.GetResponseNonce() != "l1" || !strings.Contains(detail, "odd") || !strings.Contains(detail, "acme.filters.odd") {
		t.Errorf("answer = %v, want a NACK that names listener and filter", nack)
	}
	// Envoy goes live without what it refused.
	p.becomes("LIVE")
	if _, body := p.do(http.MethodGet, "/stats?filter=lds.update"); !strings.Contains(body, "listener_manager.lds.update_rejected: 1\n") {
		t.Errorf("stats = %s", body)
	}
}
