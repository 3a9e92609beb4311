// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"podplane/integration/standin/stats"
)

// The type URLs of the resources that the stand-in takes.
const (
	clusterURL  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointURL = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerURL = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeURL    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// resource is a proto that Envoy validates.
type resource interface {
	proto.Message
	Validate() error
}

// decoded is a resource of a response, read and found to satisfy its proto's
// constraints.
type decoded[T resource] struct {
	name, version string
	body          T
}

// decode reads every resource of a response; the first that is malformed refuses
// all of them, as in Envoy.
func decode[T resource](added []*discoveryv3.Resource, empty func() T) ([]decoded[T], error) {
	out := make([]decoded[T], 0, len(added))
	for _, r := range added {
		body := empty()
		if err := r.GetResource().UnmarshalTo(body); err != nil {
			return nil, fmt.Errorf("%s: unable to unpack as %s: %w", r.GetName(), body.ProtoReflect().Descriptor().FullName(), err)
		}
		if err := body.Validate(); err != nil {
			return nil, fmt.Errorf("%s: Proto constraint validation failed (%w)", r.GetName(), err)
		}
		out = append(out, decoded[T]{name: r.GetName(), version: r.GetVersion(), body: body})
	}
	return out, nil
}

// discovery is what the handlers of all types share: Envoy's counters of a
// subscription, and the news that a first answer has arrived.
type discovery struct {
	logger  hclog.Logger
	count   func(counter string)
	arrived func()
}

// Lost counts a stream that broke.
func (d discovery) Lost() {
	d.count("update_attempt")
	d.count("update_failure")
}

// done counts an answer. A refused one counts as arrived too: Envoy goes on
// starting with what it has.
func (d discovery) done(err error) error {
	d.count("update_attempt")
	if err != nil {
		d.count("update_rejected")
	} else {
		d.count("update_success")
	}
	d.arrived()
	return err
}

// clusterTarget is the part of the data path that takes clusters.
type clusterTarget interface {
	UpdateCluster(c *clusterv3.Cluster) error
	RemoveCluster(name string)
}

// clusters applies CDS.
type clusters struct {
	discovery
	target    clusterTarget
	inventory *inventory
	manager   *stats.Scope // cluster_manager.
	settle    func()       // forgets endpoints that nobody wants any more
}

// Names is empty: clusters are a wildcard.
func (h *clusters) Names() []string { return nil }

// Apply adds and updates first and removes then, each cluster by itself.
func (h *clusters) Apply(added []*discoveryv3.Resource, removed []string) error {
	h.logger.Info("cds: applying clusters", "add", len(added), "remove", len(removed))
	list, err := decode(added, func() *clusterv3.Cluster { return &clusterv3.Cluster{} })
	if err != nil {
		return h.done(err)
	}
	var problems []string
	for _, c := range list {
		if err := h.put(c); err != nil {
			problems = append(problems, c.body.GetName()+": "+err.Error())
		}
	}
	for _, name := range removed {
		if h.inventory.remove(name) {
			h.target.RemoveCluster(name)
			h.manager.Counter("cluster_removed").Inc()
		}
	}
	h.settle()
	if len(problems) > 0 {
		return h.done(errors.New("Error adding/updating cluster(s) " + strings.Join(problems, ", ")))
	}
	return h.done(nil)
}

func (h *clusters) put(c decoded[*clusterv3.Cluster]) error {
	name := c.body.GetName()
	if h.inventory.settled(name, c.body) {
		h.inventory.touch(name, c.version)
		h.logger.Debug("cds: cluster skipped", "cluster", name)
		return nil
	}
	if err := h.target.UpdateCluster(c.body); err != nil {
		return err
	}
	counter := "cluster_added"
	if h.inventory.has(name) {
		counter = "cluster_modified"
	}
	h.manager.Counter(counter).Inc()
	h.inventory.put(item{name: name, version: c.version, body: c.body})
	h.logger.Debug("cds: add/update cluster", "cluster", name)
	return nil
}

// endpointTarget is the part of the data path that takes endpoints.
type endpointTarget interface {
	UpdateEndpoints(a *endpointv3.ClusterLoadAssignment) error
	RemoveEndpoints(name string)
	EDSNames() []string
}

// endpoints applies EDS.
type endpoints struct {
	discovery
	target    endpointTarget
	inventory *inventory
	clusters  *scopes // cluster.<name>.
}

// Names are the assignments that the clusters want.
func (h *endpoints) Names() []string { return h.target.EDSNames() }

// Apply takes assignments. Envoy ignores a server that removes one: endpoints go
// with their cluster.
func (h *endpoints) Apply(added []*discoveryv3.Resource, _ []string) error {
	list, err := decode(added, func() *endpointv3.ClusterLoadAssignment { return &endpointv3.ClusterLoadAssignment{} })
	if err != nil {
		return h.done(err)
	}
	wanted := h.target.EDSNames()
	for _, a := range list {
		if !slices.Contains(wanted, a.name) {
			continue // nobody watches it
		}
		if got := a.body.GetClusterName(); got != a.name {
			return h.done(fmt.Errorf("Unexpected EDS cluster (expecting %s): %s", a.name, got)) //nolint:staticcheck // Envoy's own words
		}
		if err := h.target.UpdateEndpoints(a.body); err != nil {
			h.clusters.get(a.name).Counter("update_rejected").Inc()
			return h.done(fmt.Errorf("%s: %w", a.name, err))
		}
		h.clusters.get(a.name).Counter("update_success").Inc()
		h.inventory.put(item{name: a.name, version: a.version, body: a.body})
	}
	return h.done(nil)
}

// settle forgets assignments that no cluster wants.
func (h *endpoints) settle() {
	wanted := h.target.EDSNames()
	for _, have := range h.inventory.list() {
		if !slices.Contains(wanted, have.name) && h.inventory.remove(have.name) {
			h.target.RemoveEndpoints(have.name)
			h.clusters.drop(have.name)
		}
	}
}
