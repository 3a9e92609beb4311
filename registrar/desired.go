// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"cmp"
	"maps"

	"github.com/hashicorp/consul/api"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"podplane/meshpod"
)

// subject is all that decides what is registered for a pod.
type subject struct {
	pod      *corev1.Pod
	asks     meshpod.Pod
	member   membership
	locality *api.Locality // nil if it is not known
	status   string
	output   string
}

// desired is what the catalog should hold for a pod that is there: for each service its instance and that of its proxy,
// each complete with node and check. It asks nobody.
func (c *catalog) desired(s subject) ([]instance, error) {
	out := make([]instance, 0, 2*len(s.asks.Services))
	for _, service := range s.asks.Services {
		own := c.service(s, service)
		for _, registered := range []*api.AgentService{own, c.proxy(s, service, own)} {
			i, err := c.instance(s, registered)
			if err != nil {
				return nil, err
			}
			out = append(out, i)
		}
	}
	return out, nil
}

// nameless returns the index of a service that nothing names, or -1.
func nameless(asks meshpod.Pod, member membership) int {
	for _, service := range asks.Services {
		if asks.NameOf(service, member.service) == "" {
			return service.Index
		}
	}
	return -1
}

func (c *catalog) service(s subject, service meshpod.Service) *api.AgentService {
	return &api.AgentService{
		ID:        s.asks.ServiceID(s.pod.Namespace, s.pod.Name, service),
		Service:   s.asks.NameOf(service, s.member.service),
		Address:   s.pod.Status.PodIP,
		Port:      service.Port,
		Tags:      s.asks.TagsOf(s.pod.Name),
		Meta:      c.meta(s),
		Weights:   api.AgentWeights{Passing: 1, Warning: 1},
		Locality:  s.locality,
		Namespace: c.cfg.Namespaces.For(s.pod.Namespace),
		Partition: c.cfg.Partition,
	}
}

func (c *catalog) proxy(s subject, service meshpod.Service, own *api.AgentService) *api.AgentService {
	proxy := *own
	proxy.Kind = api.ServiceKindConnectProxy
	proxy.ID = s.asks.ProxyID(s.pod.Namespace, s.pod.Name, service)
	proxy.Service = meshpod.ProxyName(own.Service)
	proxy.Port = service.Ports.Public
	proxy.Proxy = &api.AgentServiceConnectProxyConfig{
		DestinationServiceName: own.Service, DestinationServiceID: own.ID, Config: maps.Clone(s.asks.ProxyConfig),
	}
	if service.Port > 0 {
		proxy.Proxy.LocalServiceAddress, proxy.Proxy.LocalServicePort = localhost, service.Port
	}
	if addr := s.asks.PrometheusBindAddr(service); addr != "" {
		if proxy.Proxy.Config == nil {
			proxy.Proxy.Config = map[string]any{}
		}
		proxy.Proxy.Config["envoy_prometheus_bind_addr"] = addr
	}
	if service.Index == 0 { // the dataplanes share an address, so one of them has the upstreams
		for _, u := range s.asks.Upstreams {
			proxy.Proxy.Upstreams = append(proxy.Proxy.Upstreams, upstream(u, own))
		}
	}
	return &proxy
}

// upstream says where the destination is also where that is where the proxy is, so that a default reads the same everywhere.
func upstream(u meshpod.Upstream, own *api.AgentService) api.Upstream {
	out := api.Upstream{
		DestinationType: api.UpstreamDestTypeService, DestinationName: u.Name, DestinationNamespace: u.Namespace,
		DestinationPartition: u.Partition, DestinationPeer: u.Peer, Datacenter: u.Datacenter,
		LocalBindAddress: u.LocalAddress, LocalBindPort: u.LocalPort,
		MeshGateway: api.MeshGatewayConfig{Mode: api.MeshGatewayMode(u.MeshGateway)},
	}
	switch {
	case u.PreparedQuery:
		out.DestinationType = api.UpstreamDestTypePreparedQuery
	case u.Peer == "":
		out.DestinationNamespace = cmp.Or(u.Namespace, own.Namespace)
		out.DestinationPartition = cmp.Or(u.Partition, own.Partition)
	}
	return out
}

// meta is the user's and what identifies the pod, in which the user has no say.
func (c *catalog) meta(s subject) map[string]string {
	meta := s.asks.MetaOf(s.pod.Name)
	maps.Copy(meta, map[string]string{
		metaPod: s.pod.Name, metaUID: string(s.pod.UID), metaNamespace: s.pod.Namespace, metaManagedBy: ManagedBy,
		metaCluster: c.cfg.Cluster, metaSynthetic: "true",
	})
	if s.member.service != "" {
		meta[metaKubeService] = s.member.service
	}
	return meta
}

// nodeMeta is that of the catalog's nodes.
func (c *catalog) nodeMeta() map[string]string {
	meta := map[string]string{metaSynthetic: "true", metaManagedBy: ManagedBy, metaCluster: c.cfg.Cluster}
	maps.Copy(meta, c.cfg.NodeMeta)
	return meta
}

func (c *catalog) instance(s subject, registered *api.AgentService) (instance, error) {
	digest, err := serviceDigest(registered)
	if err != nil {
		return instance{}, err
	}
	r := record{
		place:   place{node: c.nodeOf(s.pod), namespace: tenancy(registered.Namespace), id: registered.ID},
		pod:     types.NamespacedName{Namespace: s.pod.Namespace, Name: s.pod.Name},
		uid:     s.pod.UID,
		service: registered.Service,
		digest:  digest,
		status:  s.status,
	}
	return instance{record: r, registration: &api.CatalogRegistration{
		Node: r.node, Address: s.pod.Status.HostIP, NodeMeta: c.nodeMeta(), Service: registered, Check: c.check(r, s.output),
		Partition: c.cfg.Partition,
	}}, nil
}

func (c *catalog) nodeOf(pod *corev1.Pod) string { return pod.Spec.NodeName + c.cfg.NodeSuffix }

// check is the readiness check of an instance.
func (c *catalog) check(r record, output string) *api.AgentCheck {
	check := &api.AgentCheck{
		Node: r.node, CheckID: r.pod.Namespace + "/" + r.id, Name: checkName, Type: checkType, Status: r.status, Output: output,
		ServiceID: r.id, ServiceName: r.service, Partition: c.cfg.Partition,
	}
	if c.cfg.Namespaces.Enabled {
		check.Namespace = r.namespace
		if check.Namespace == "" {
			check.Namespace = "default"
		}
	}
	return check
}
