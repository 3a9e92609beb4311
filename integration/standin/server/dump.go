// SPDX-License-Identifier: MPL-2.0

package server

import (
	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Dump is the configuration in force, as /config_dump shows it but for the
// redaction of private keys.
func (s *Server) Dump(endpoints bool) (*adminv3.ConfigDump, error) {
	p := &packer{}
	p.pack(&adminv3.BootstrapConfigDump{Bootstrap: s.cfg.Bootstrap, LastUpdated: timestamppb.New(s.started)})
	p.pack(s.dumpClusters(p))
	if endpoints {
		p.pack(s.dumpEndpoints(p))
	}
	p.pack(s.dumpListeners(p))
	p.pack(&adminv3.ScopedRoutesConfigDump{})
	p.pack(s.dumpRoutes(p))
	p.pack(s.dumpSecrets(p))
	return &adminv3.ConfigDump{Configs: p.configs}, p.err
}

// packer wraps messages and keeps the first error.
type packer struct {
	configs []*anypb.Any
	err     error
}

func (p *packer) pack(m proto.Message) { p.configs = append(p.configs, p.any(m)) }

func (p *packer) any(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil && p.err == nil {
		p.err = err
	}
	return a
}

func (s *Server) dumpClusters(p *packer) proto.Message {
	warming := map[string]bool{}
	names, _ := s.engine.Warming()
	for _, name := range names {
		warming[name] = true
	}
	d := &adminv3.ClustersConfigDump{}
	for _, i := range s.clusters.list() {
		switch {
		case i.static:
			d.StaticClusters = append(d.StaticClusters,
				&adminv3.ClustersConfigDump_StaticCluster{Cluster: p.any(i.body), LastUpdated: i.lastUpdated()})
		case warming[i.name]:
			d.DynamicWarmingClusters = append(d.DynamicWarmingClusters,
				&adminv3.ClustersConfigDump_DynamicCluster{VersionInfo: i.version, Cluster: p.any(i.body), LastUpdated: i.lastUpdated()})
		default:
			d.DynamicActiveClusters = append(d.DynamicActiveClusters,
				&adminv3.ClustersConfigDump_DynamicCluster{VersionInfo: i.version, Cluster: p.any(i.body), LastUpdated: i.lastUpdated()})
		}
	}
	return d
}

func (s *Server) dumpEndpoints(p *packer) proto.Message {
	d := &adminv3.EndpointsConfigDump{}
	for _, i := range s.endpoints.list() {
		d.DynamicEndpointConfigs = append(d.DynamicEndpointConfigs,
			&adminv3.EndpointsConfigDump_DynamicEndpointConfig{EndpointConfig: p.any(i.body)})
	}
	return d
}

func (s *Server) dumpListeners(p *packer) proto.Message {
	warming := map[string]bool{}
	_, names := s.engine.Warming()
	for _, name := range names {
		warming[name] = true
	}
	d := &adminv3.ListenersConfigDump{}
	for _, i := range s.listeners.list() {
		if i.static {
			d.StaticListeners = append(d.StaticListeners,
				&adminv3.ListenersConfigDump_StaticListener{Listener: p.any(i.body), LastUpdated: i.lastUpdated()})
			continue
		}
		state := &adminv3.ListenersConfigDump_DynamicListenerState{
			VersionInfo: i.version, Listener: p.any(i.body), LastUpdated: i.lastUpdated(),
		}
		listener := &adminv3.ListenersConfigDump_DynamicListener{Name: i.name, ActiveState: state}
		if warming[i.name] {
			listener = &adminv3.ListenersConfigDump_DynamicListener{Name: i.name, WarmingState: state}
		}
		d.DynamicListeners = append(d.DynamicListeners, listener)
	}
	return d
}

func (s *Server) dumpRoutes(p *packer) proto.Message {
	d := &adminv3.RoutesConfigDump{}
	for _, i := range s.routes.list() {
		d.DynamicRouteConfigs = append(d.DynamicRouteConfigs, &adminv3.RoutesConfigDump_DynamicRouteConfig{
			VersionInfo: i.version, RouteConfig: p.any(i.body), LastUpdated: i.lastUpdated(),
		})
	}
	return d
}

func (s *Server) dumpSecrets(p *packer) proto.Message {
	d := &adminv3.SecretsConfigDump{}
	for _, i := range s.secrets.list() {
		d.StaticSecrets = append(d.StaticSecrets, &adminv3.SecretsConfigDump_StaticSecret{
			Name: i.name, LastUpdated: i.lastUpdated(), Secret: p.any(i.body),
		})
	}
	return d
}
