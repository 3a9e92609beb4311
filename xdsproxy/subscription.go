// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"maps"
	"slices"
)

// The types that Consul serves.
const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	secretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
)

// knownType gives the type URL as a string that is there already; "" if it is none
// of those.
func knownType(typeURL []byte) string {
	switch string(typeURL) {
	case clusterType:
		return clusterType
	case endpointType:
		return endpointType
	case listenerType:
		return listenerType
	case routeType:
		return routeType
	case secretType:
		return secretType
	}
	return ""
}

const (
	// wildcardName subscribes to everything, see
	// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#how-the-client-specifies-what-resources-to-return.
	wildcardName = "*"

	// resumeName is subscribed to where every name that Envoy wants is held
	// already. An empty list would be a wildcard subscription, and Consul takes
	// an explicitly named resource as one that the client has lost and sends it
	// again; a name that no resource has makes it answer with what changed only.
	resumeName = "podplane-resume"
)

// subscription is what is known of one resource type on one Envoy stream.
type subscription struct {
	typeURL  string
	wildcard bool
	names    map[string]struct{} // subscribed to by name
	held     map[string]string   // name to version: what Envoy has, as far as it has said
	pending  deliveries          // sent to Envoy and not answered yet
	synced   bool                // the current upstream has had the first request of this type
	pruned   bool                // the cache of the type agrees with held, since then

	status TypeStatus
}

func newSubscription(r request) *subscription {
	s := &subscription{
		typeURL:  r.typeURL,
		wildcard: len(r.subscribe) == 0,
		names:    make(map[string]struct{}),
		held:     make(map[string]string, len(r.initial)),
	}
	maps.Copy(s.held, r.initial)
	s.add(r.subscribe)
	return s
}

// add and drop note names, and the wildcard name, which adds everything else.
func (s *subscription) add(names []string) {
	for _, name := range names {
		if name == wildcardName {
			s.wildcard = true
			continue
		}
		s.names[name] = struct{}{}
	}
}

func (s *subscription) drop(names []string) {
	for _, name := range names {
		if name == wildcardName {
			s.wildcard = false
			continue
		}
		delete(s.names, name)
		delete(s.held, name)
	}
}

// subscribed tells whether Envoy wants the resource of that name.
func (s *subscription) subscribed(name string) bool {
	_, ok := s.names[name]
	return ok || s.wildcard
}

// wanted tells whether there is anything to ask a server for. A type that is
// subscribed to by name and has no names left must not be asked for: the empty
// list would mean everything.
func (s *subscription) wanted() bool {
	return s.wildcard || len(s.names) > 0
}

// first gives the request that (re)starts the subscription at a server: all
// that Envoy subscribed to, less what it holds. A name that is held, but has to
// be sent once more, is asked for as if it were not.
func (s *subscription) first(resend func(name, version string) bool) request {
	r := request{typeURL: s.typeURL, initial: maps.Clone(s.held)}
	maps.DeleteFunc(r.initial, resend)
	if s.wildcard && len(s.names) > 0 {
		r.subscribe = append(r.subscribe, wildcardName)
	}
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		if _, ok := r.initial[name]; !ok {
			r.subscribe = append(r.subscribe, name)
		}
	}
	if !s.wildcard && len(r.subscribe) == 0 {
		r.subscribe = []string{resumeName}
	}
	return r
}
