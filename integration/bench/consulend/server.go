// SPDX-License-Identifier: MPL-2.0

package consulend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"github.com/hashicorp/consul/proto-public/pbserverdiscovery"
	"google.golang.org/protobuf/types/known/structpb"
)

// What the proxy is configured with from the start: about what Consul sends to a
// service with twenty upstreams.
const (
	clusters    = 20
	clusterSize = 2 << 10
	listeners   = 2
	listenSize  = 8 << 10
)

// server is one Consul server.
type server struct {
	pbdataplane.UnimplementedDataplaneServiceServer
	pbserverdiscovery.UnimplementedServerDiscoveryServiceServer
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	config Config

	mu       sync.Mutex
	versions map[string]map[string]string // by type, then name
	streams  map[*stream]struct{}
}

func newServer(config Config) *server {
	s := &server{config: config, streams: make(map[*stream]struct{}), versions: map[string]map[string]string{
		ClusterType: {}, ListenerType: {},
	}}
	for i := range clusters {
		s.versions[ClusterType][fmt.Sprintf("cluster-%d", i)] = "1"
	}
	for i := range listeners {
		s.versions[ListenerType][fmt.Sprintf("listener-%d", i)] = "1"
	}
	return s
}

// GetSupportedDataplaneFeatures has all that a dataplane asks for.
func (s *server) GetSupportedDataplaneFeatures(context.Context, *pbdataplane.GetSupportedDataplaneFeaturesRequest) (*pbdataplane.GetSupportedDataplaneFeaturesResponse, error) {
	var response pbdataplane.GetSupportedDataplaneFeaturesResponse
	for _, f := range []pbdataplane.DataplaneFeatures{
		pbdataplane.DataplaneFeatures_DATAPLANE_FEATURES_WATCH_SERVERS,
		pbdataplane.DataplaneFeatures_DATAPLANE_FEATURES_EDGE_CERTIFICATE_MANAGEMENT,
		pbdataplane.DataplaneFeatures_DATAPLANE_FEATURES_ENVOY_BOOTSTRAP_CONFIGURATION,
	} {
		response.SupportedDataplaneFeatures = append(response.SupportedDataplaneFeatures,
			&pbdataplane.DataplaneFeatureSupport{FeatureName: f, Supported: true})
	}
	return &response, nil
}

// WatchServers names all servers once; they do not change.
func (s *server) WatchServers(_ *pbserverdiscovery.WatchServersRequest, watch pbserverdiscovery.ServerDiscoveryService_WatchServersServer) error {
	var list pbserverdiscovery.WatchServersResponse
	for i, address := range s.config.Servers {
		list.Servers = append(list.Servers, &pbserverdiscovery.Server{Id: strconv.Itoa(i), Address: address})
	}
	if err := watch.Send(&list); err != nil {
		return err
	}
	<-watch.Context().Done()
	return watch.Context().Err()
}

// GetEnvoyBootstrapParams knows every proxy.
func (s *server) GetEnvoyBootstrapParams(context.Context, *pbdataplane.GetEnvoyBootstrapParamsRequest) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	config, err := structpb.NewStruct(s.config.ProxyConfig)
	if err != nil {
		return nil, err
	}
	return &pbdataplane.GetEnvoyBootstrapParamsResponse{
		Identity: "web", NodeName: "node-1", Datacenter: "dc1", Config: config,
		Service: "web", //nolint:staticcheck // Consul sends it, and older dataplanes know nothing else
	}, nil
}

// DeltaAggregatedResources serves one Envoy.
func (s *server) DeltaAggregatedResources(ads discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	st := newStream(ads, s.current)
	s.mu.Lock()
	s.streams[st] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, st)
		s.mu.Unlock()
	}()
	return st.serve()
}

// current gives the versions of a type.
func (s *server) current(typeURL string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.versions[typeURL])
}

// count is the number of streams.
func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

func (s *server) set(set Set) error {
	s.mu.Lock()
	s.versions[ClusterType][set.Name] = set.Version
	s.mu.Unlock()
	for _, st := range s.open() {
		if err := st.publish(set.Name, set.Version, clusterSize); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) update(ctx context.Context, u Update) error {
	if u.Names < 1 || u.Size < 0 || u.Size > maxBody {
		return fmt.Errorf("update of %d names with %d bytes", u.Names, u.Size)
	}
	open := s.open()
	if len(open) == 0 {
		return errors.New("no envoy is connected")
	}
	for n := range u.Count {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, st := range open {
			if err := st.publish(u.UpdateName(n+1), strconv.Itoa(n+1), u.Size); err != nil {
				return err
			}
		}
	}
	return nil
}

// open lists the streams.
func (s *server) open() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*stream
	for st := range s.streams {
		all = append(all, st)
	}
	return all
}
