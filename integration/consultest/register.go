// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// SyntheticNode is the catalog node on which services are registered unless they name another.
const SyntheticNode = "consultest-virtual"

// syntheticNodeMeta marks a node that no agent runs on, as consul-k8s does.
const syntheticNodeMeta = "synthetic-node"

// Check statuses.
const (
	Passing  = "passing"
	Critical = "critical"
)

// Service describes one instance of a service and its sidecar proxy, as consul-k8s registers a pod.
type Service struct {
	// Name is the service's name. Required.
	Name string
	// ID of the instance; empty means Name. The proxy's ID is [Service.ProxyID].
	ID string
	// Node is the catalog node; empty means [SyntheticNode].
	Node string
	// Address at which the other members of the mesh reach the proxy; empty means 127.0.0.1.
	Address string
	// Port on which the application listens, at 127.0.0.1. 0 is allowed for a pure client.
	Port int
	// ProxyPort is where the proxy's public listener listens. Required.
	ProxyPort int
	// Upstreams are the services that the application reaches through its proxy.
	Upstreams []Upstream
	// ProxyConfig is the proxy's opaque config, such as {"envoy_prometheus_bind_addr": "0.0.0.0:20200"}.
	ProxyConfig map[string]any
	// Transparent turns on transparent proxy mode.
	Transparent bool
	// Tags and Meta are those of the service, not of the proxy.
	Tags []string
	Meta map[string]string
	// Status of both checks; empty means [Passing].
	Status string
}

// Upstream is a service that a proxy offers to its application on a local port.
type Upstream struct {
	DestinationName  string         `json:"DestinationName"`
	LocalBindAddress string         `json:"LocalBindAddress,omitempty"` // empty means 127.0.0.1
	LocalBindPort    int            `json:"LocalBindPort"`
	Datacenter       string         `json:"Datacenter,omitempty"`
	Config           map[string]any `json:"Config,omitempty"`
}

// ProxyID is the ID of the sidecar proxy: what a dataplane's `-proxy-id` names.
func (s Service) ProxyID() string { return s.withDefaults().ID + "-sidecar-proxy" }

// NodeName is the catalog node: what a dataplane's `-proxy-node-name` names.
func (s Service) NodeName() string { return s.withDefaults().Node }

func (s Service) withDefaults() Service {
	if s.ID == "" {
		s.ID = s.Name
	}
	if s.Node == "" {
		s.Node = SyntheticNode
	}
	if s.Address == "" {
		s.Address = "127.0.0.1"
	}
	if s.Status == "" {
		s.Status = Passing
	}
	return s
}

// Register writes the service and its proxy to the catalog, in this order, each with a check. It may be
// repeated with other values.
func (c *Client) Register(ctx context.Context, s Service) error {
	if s.Name == "" || s.ProxyPort == 0 {
		return errors.New("register service: name and proxy port are required")
	}
	s = s.withDefaults()
	for _, instance := range []map[string]any{s.instance(), s.proxy()} {
		if err := c.registerInstance(ctx, s, instance); err != nil {
			return fmt.Errorf("register %s: %w", s.Name, err)
		}
	}
	return nil
}

func (c *Client) registerInstance(ctx context.Context, s Service, instance map[string]any) error {
	return c.Put(ctx, "/v1/catalog/register", map[string]any{
		"Node":           s.Node,
		"Address":        s.Address,
		"NodeMeta":       map[string]string{syntheticNodeMeta: "true"},
		"SkipNodeUpdate": false,
		"Service":        instance,
		"Check": map[string]any{
			"CheckID":   checkID(instance["ID"].(string)),
			"Name":      "Kubernetes Readiness Check",
			"Type":      "kubernetes-readiness",
			"ServiceID": instance["ID"],
			"Status":    s.Status,
		},
	})
}

func checkID(serviceID string) string { return "default/" + serviceID }

func (s Service) instance() map[string]any {
	return map[string]any{
		"ID": s.ID, "Service": s.Name, "Address": s.Address, "Port": s.Port, "Tags": s.Tags, "Meta": s.Meta,
	}
}

func (s Service) proxy() map[string]any {
	proxy := map[string]any{
		"DestinationServiceName": s.Name,
		"DestinationServiceID":   s.ID,
		"Upstreams":              s.Upstreams,
		"Config":                 s.ProxyConfig,
	}
	if s.Port != 0 {
		proxy["LocalServiceAddress"] = "127.0.0.1"
		proxy["LocalServicePort"] = s.Port
	}
	if s.Transparent {
		proxy["Mode"] = "transparent"
	}
	return map[string]any{
		"ID": s.ProxyID(), "Service": s.Name + "-sidecar-proxy", "Kind": "connect-proxy",
		"Address": s.Address, "Port": s.ProxyPort, "Proxy": proxy,
	}
}

// Deregister removes the service and its proxy from the catalog. One that is not there is no error.
func (c *Client) Deregister(ctx context.Context, s Service) error {
	s = s.withDefaults()
	for _, id := range []string{s.ProxyID(), s.ID} {
		if err := c.Put(ctx, "/v1/catalog/deregister", map[string]any{"Node": s.Node, "ServiceID": id}); err != nil {
			return fmt.Errorf("deregister %s: %w", id, err)
		}
	}
	return nil
}

// CatalogInstance is one instance as the catalog shows it.
type CatalogInstance struct {
	Node, ServiceID, ServiceName, ServiceAddress string
	ServicePort                                  int
}

// Instances lists the instances of a service, whatever their health.
func (c *Client) Instances(ctx context.Context, name string) ([]CatalogInstance, error) {
	var out []CatalogInstance
	err := c.Get(ctx, "/v1/catalog/service/"+url.PathEscape(name), &out)
	return out, err
}

// HealthyInstances counts the instances of a service all of whose checks pass.
func (c *Client) HealthyInstances(ctx context.Context, name string) (int, error) {
	var out []struct{}
	err := c.Get(ctx, "/v1/health/service/"+url.PathEscape(name)+"?passing", &out)
	return len(out), err
}
