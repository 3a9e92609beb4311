// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"fmt"
	"sync"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/metadata"

	"podplane/integration/standin/ads"
)

// sources is what a bootstrap says about dynamic configuration.
type sources struct {
	clusters, listeners bool // by ADS
	clusterTimeout      time.Duration
	listenerTimeout     time.Duration
	cluster             *clusterv3.Cluster // serves ADS; nil if nothing is dynamic
	metadata            metadata.MD
	connectTimeout      time.Duration
}

// dynamicSources reads dynamic_resources. What the stand-in cannot do — any API
// but delta over ADS — is an error that names it.
func dynamicSources(b *bootstrapv3.Bootstrap, n *corev3.Node) (sources, error) {
	var found sources
	d := b.GetDynamicResources()
	var err error
	if found.clusters, found.clusterTimeout, err = configSource("cds_config", d.GetCdsConfig()); err != nil {
		return sources{}, err
	}
	if found.listeners, found.listenerTimeout, err = configSource("lds_config", d.GetLdsConfig()); err != nil {
		return sources{}, err
	}
	api := d.GetAdsConfig()
	if api == nil {
		if found.clusters || found.listeners {
			return sources{}, errors.New("dynamic_resources: a config source is ads, but there is no ads_config")
		}
		return sources{}, nil
	}
	if err := checkNode(n); err != nil {
		return sources{}, err
	}
	return found, found.readAPI(api, b)
}

func configSource(field string, c *corev3.ConfigSource) (ads bool, timeout time.Duration, err error) {
	if c == nil {
		return false, 0, nil
	}
	if c.GetAds() == nil {
		return false, 0, fmt.Errorf("dynamic_resources: %s: only ads is supported", field)
	}
	if v := c.GetResourceApiVersion(); v != corev3.ApiVersion_V3 {
		return false, 0, fmt.Errorf("dynamic_resources: %s: resource_api_version %s is not supported, only V3 is", field, v)
	}
	timeout = defaultFetchTimeout
	if t := c.GetInitialFetchTimeout(); t != nil {
		timeout = t.AsDuration()
	}
	return true, timeout, nil
}

func (f *sources) readAPI(api *corev3.ApiConfigSource, b *bootstrapv3.Bootstrap) error {
	if t := api.GetApiType(); t != corev3.ApiConfigSource_DELTA_GRPC {
		return fmt.Errorf("dynamic_resources: ads_config: api_type %s is not supported", t)
	}
	if len(api.GetGrpcServices()) != 1 || api.GetGrpcServices()[0].GetEnvoyGrpc() == nil {
		return errors.New("dynamic_resources: ads_config: exactly one envoy_grpc service is supported")
	}
	service := api.GetGrpcServices()[0]
	name := service.GetEnvoyGrpc().GetClusterName()
	for _, c := range b.GetStaticResources().GetClusters() {
		if c.GetName() == name {
			f.cluster = c
		}
	}
	if f.cluster == nil {
		return fmt.Errorf("ads_config: unknown gRPC client cluster '%s'", name)
	}
	f.metadata = metadata.MD{}
	for _, h := range service.GetInitialMetadata() {
		f.metadata.Append(h.GetKey(), h.GetValue())
	}
	f.connectTimeout = 5 * time.Second
	if t := f.cluster.GetConnectTimeout(); t != nil {
		f.connectTimeout = t.AsDuration()
	}
	return nil
}

// buildDynamic makes the ADS client and the order of initialisation.
func (s *Server) buildDynamic() error {
	found, err := dynamicSources(s.cfg.Bootstrap, s.node)
	if err != nil {
		return err
	}
	cds, lds := newLatch(), newLatch()
	if found.cluster != nil {
		if err := s.newClient(found, cds.open, lds.open); err != nil {
			return err
		}
	}
	start := func(typeURL string) func() { return func() { s.ads.Load().Start(typeURL) } }
	s.init = &initialiser{
		logger: s.cfg.Logs.Logger("init"), state: s.state, changed: s.changed, workers: s.engine.StartWorkers,
		live: func() {
			s.gauges.live(time.Since(s.started))
			if s.cfg.Options.Mode == "init_only" {
				s.Quit()
			}
		},
		sources: []source{
			{
				name: "cds", phase: adminv3.ServerInfo_PRE_INITIALIZING, dynamic: found.clusters,
				timeout: found.clusterTimeout, start: start(clusterURL), arrived: cds.opened,
				warming: func() []string { clusters, _ := s.engine.Warming(); return clusters },
			},
			{
				name: "lds", phase: adminv3.ServerInfo_INITIALIZING, dynamic: found.listeners,
				timeout: found.listenerTimeout, start: start(listenerURL), arrived: lds.opened,
				warming: func() []string { _, listeners := s.engine.Warming(); return listeners },
			},
		},
	}
	return nil
}

// newClient makes the ADS client with a handler for each type.
func (s *Server) newClient(found sources, cdsArrived, ldsArrived func()) error {
	dial, err := ads.NewDialer(found.cluster)
	if err != nil {
		return err
	}
	shared := func(scope string, arrived func()) discovery {
		counters := s.store.Scope(scope)
		return discovery{
			logger: s.cfg.Logs.Logger("upstream"), arrived: arrived,
			count: func(name string) { counters.Counter(name).Inc() },
		}
	}
	named := discovery{logger: s.cfg.Logs.Logger("upstream"), arrived: func() {}, count: func(string) {}}
	eds := &endpoints{discovery: named, target: s.engine, inventory: s.endpoints, clusters: newScopes(s.store, "cluster.")}
	rds := &routes{discovery: named, target: s.engine, inventory: s.routes}
	cds := &clusters{
		discovery: shared("cluster_manager.cds.", cdsArrived), target: s.engine, inventory: s.clusters,
		manager: s.store.Scope("cluster_manager."), settle: eds.settle,
	}
	lds := &listeners{
		discovery: shared("listener_manager.lds.", ldsArrived), target: s.engine, inventory: s.listeners,
		manager: s.store.Scope("listener_manager."), settle: rds.settle,
	}
	connected := s.store.Scope("control_plane.").Gauge("connected_state")
	connected.Set(0)
	s.ads.Store(ads.New(ads.Config{
		Logger: s.cfg.Logs.Logger("config"), Cluster: found.cluster.GetName(), Dial: dial,
		Metadata: found.metadata, Node: s.node, ConnectTimeout: found.connectTimeout,
		Types: []ads.Type{
			{URL: clusterURL, Wildcard: true, Handler: cds}, {URL: endpointURL, Handler: eds},
			{URL: listenerURL, Wildcard: true, Handler: lds}, {URL: routeURL, Handler: rds},
		},
		Connected: func(up bool) {
			if up {
				connected.Set(1)
				return
			}
			connected.Set(0)
		},
	}))
	return nil
}

// latch is opened once.
type latch struct {
	once   sync.Once
	opened chan struct{}
}

func newLatch() *latch { return &latch{opened: make(chan struct{})} }

func (l *latch) open() { l.once.Do(func() { close(l.opened) }) }
