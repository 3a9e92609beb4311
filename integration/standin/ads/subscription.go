// SPDX-License-Identifier: MPL-2.0

package ads

import (
	"fmt"
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// Handler applies the resources of one type. It is called by one goroutine only.
type Handler interface {
	// Apply takes what one response adds, changes and removes. An error refuses
	// the response as a whole towards the server, whatever was applied of it.
	Apply(added []*discoveryv3.Resource, removed []string) error
	// Names lists what shall be subscribed by name. It is not asked for
	// wildcard types.
	Names() []string
	// Lost says that the stream broke while the type was subscribed.
	Lost()
}

// Type is one resource type that the client can subscribe.
type Type struct {
	URL      string
	Wildcard bool // everything of the type, as for clusters and listeners
	Handler  Handler
}

// subscription is the state of one type.
type subscription struct {
	Type
	started   bool              // the type is wanted
	sent      bool              // something was sent on this stream
	requested map[string]bool   // names that the server was told, if not a wildcard
	held      map[string]string // version by name
}

func newSubscription(t Type) *subscription {
	return &subscription{Type: t, requested: map[string]bool{}, held: map[string]string{}}
}

// fresh forgets what the previous stream knew; what is held stays.
func (s *subscription) fresh() { s.sent = false }

// next builds the request that the type wants to send, or nil if there is none.
func (s *subscription) next() *discoveryv3.DeltaDiscoveryRequest {
	if !s.started {
		return nil
	}
	added, removed := s.changes()
	switch {
	case s.sent && len(added) == 0 && len(removed) == 0:
		return nil
	case !s.sent && !s.Wildcard && len(s.requested) == 0:
		// An empty first request would mean everything.
		return nil
	}
	return s.request(added, removed)
}

// answer builds the ACK (cause nil) or NACK of a response.
func (s *subscription) answer(nonce string, cause error) *discoveryv3.DeltaDiscoveryRequest {
	req := s.request(s.changes())
	req.ResponseNonce = nonce
	if cause != nil {
		req.ErrorDetail = &status.Status{Code: int32(codes.Internal), Message: truncate(cause.Error())}
	}
	return req
}

func (s *subscription) request(added, removed []string) *discoveryv3.DeltaDiscoveryRequest {
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: s.URL}
	if s.sent {
		req.ResourceNamesSubscribe, req.ResourceNamesUnsubscribe = added, removed
		return req
	}
	s.sent = true
	req.InitialResourceVersions = map[string]string{}
	maps.Copy(req.InitialResourceVersions, s.held)
	for name := range s.requested {
		req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
	}
	slices.Sort(req.ResourceNamesSubscribe)
	return req
}

// changes brings requested up to date with what the handler wants.
func (s *subscription) changes() (added, removed []string) {
	if s.Wildcard {
		return nil, nil
	}
	want := map[string]bool{}
	for _, name := range s.Handler.Names() {
		want[name] = true
		if !s.requested[name] {
			added = append(added, name)
		}
	}
	for name := range s.requested {
		if !want[name] {
			removed = append(removed, name)
			delete(s.held, name)
		}
	}
	s.requested = want
	slices.Sort(added)
	slices.Sort(removed)
	return added, removed
}

// apply checks and applies a response, and remembers versions if it is accepted.
func (s *subscription) apply(resp *discoveryv3.DeltaDiscoveryResponse) error {
	seen := map[string]bool{}
	var bodies []*discoveryv3.Resource
	for _, r := range resp.GetResources() {
		if seen[r.GetName()] {
			return fmt.Errorf("duplicate name %s found among added/updated resources", r.GetName())
		}
		seen[r.GetName()] = true
		if s.heartbeat(r) {
			continue
		}
		if url := r.GetResource().GetTypeUrl(); url != resp.GetTypeUrl() {
			return fmt.Errorf("type URL %s embedded in an individual Any does not match the message-wide type URL %s",
				url, resp.GetTypeUrl())
		}
		bodies = append(bodies, r)
	}
	for _, name := range resp.GetRemovedResources() {
		if seen[name] {
			return fmt.Errorf("duplicate name %s found in the union of added+removed resources", name)
		}
		seen[name] = true
	}
	if err := s.Handler.Apply(bodies, resp.GetRemovedResources()); err != nil {
		return err
	}
	for _, r := range bodies {
		if s.Wildcard || s.requested[r.GetName()] {
			s.held[r.GetName()] = r.GetVersion()
		}
	}
	for _, name := range resp.GetRemovedResources() {
		delete(s.held, name)
	}
	return nil
}

// heartbeat tells a resource without a body that repeats the version held.
func (s *subscription) heartbeat(r *discoveryv3.Resource) bool {
	version, ok := s.held[r.GetName()]
	return r.GetResource() == nil && ok && version == r.GetVersion()
}

// truncate keeps an error within what Envoy puts into a gRPC status.
func truncate(message string) string {
	const limit = 4096
	if len(message) <= limit {
		return message
	}
	return message[:limit] + "...(truncated)"
}
