// SPDX-License-Identifier: MPL-2.0

package consulend

import (
	"maps"
	"slices"
	"strconv"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// stream is one ADS stream.
type stream struct {
	ads     discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	current func(typeURL string) map[string]string
	pushes  sync.WaitGroup

	// Of the goroutine that serves.
	seen map[string]bool // the types that were asked for
	echo *discoveryv3.Resource

	mu         sync.Mutex // held over a send
	nonce      int
	subscribed bool // to clusters
}

func newStream(ads discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, current func(string) map[string]string) *stream {
	return &stream{ads: ads, current: current, seen: make(map[string]bool)}
}

// serve takes requests until the client ends the stream.
func (s *stream) serve() error {
	defer s.pushes.Wait() // the stream is broken, so their sends fail
	for {
		r, err := s.ads.Recv()
		if err != nil {
			return err
		}
		if err := s.take(r); err != nil {
			return err
		}
	}
}

func (s *stream) take(r *discoveryv3.DeltaDiscoveryRequest) error {
	first := !s.seen[r.GetTypeUrl()]
	s.seen[r.GetTypeUrl()] = true
	switch {
	case r.GetTypeUrl() == MeasureType:
		return s.measure(r)
	case first:
		return s.resume(r)
	default:
		return nil // an answer
	}
}

// resume sends what differs from what the client has.
func (s *stream) resume(r *discoveryv3.DeltaDiscoveryRequest) error {
	size := clusterSize
	if r.GetTypeUrl() == ListenerType {
		size = listenSize
	}
	have, want := r.GetInitialResourceVersions(), s.current(r.GetTypeUrl())
	var resources []*discoveryv3.Resource
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			resources = append(resources, resource(r.GetTypeUrl(), name, want[name], size))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribed = s.subscribed || r.GetTypeUrl() == ClusterType
	return s.send(r.GetTypeUrl(), resources...)
}

// measure begins and ends what the names ask for.
func (s *stream) measure(r *discoveryv3.DeltaDiscoveryRequest) error {
	if r.GetResponseNonce() != "" && s.echo != nil {
		return s.sendLocked(MeasureType, s.echo)
	}
	if len(r.GetResourceNamesUnsubscribe()) > 0 {
		s.echo = nil
	}
	for _, name := range r.GetResourceNamesSubscribe() {
		if size, ok := parseEcho(name); ok {
			s.echo = resource(MeasureType, name, "1", size)
			return s.sendLocked(MeasureType, s.echo)
		}
		if count, size, ok := parsePush(name); ok {
			s.pushes.Go(func() { s.push(name, count, size) })
		}
	}
	return nil
}

// push ends early when the stream is broken, which the reader notices.
func (s *stream) push(name string, count, size int) {
	content := body(size)
	for i := range count {
		r := &discoveryv3.Resource{Name: name, Version: strconv.Itoa(i), Resource: &anypb.Any{TypeUrl: MeasureType, Value: content}}
		if s.sendLocked(MeasureType, r) != nil {
			return
		}
	}
}

// publish sends a cluster, if the stream has asked for clusters. One that asks
// later gets it then.
func (s *stream) publish(name, version string, size int) error {
	r := resource(ClusterType, name, version, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.subscribed {
		return nil
	}
	return s.send(ClusterType, r)
}

func (s *stream) sendLocked(typeURL string, resources ...*discoveryv3.Resource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(typeURL, resources...)
}

// send needs the lock: gRPC allows one sender at a time.
func (s *stream) send(typeURL string, resources ...*discoveryv3.Resource) error {
	s.nonce++
	return s.ads.Send(&discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: typeURL, Nonce: strconv.FormatInt(int64(s.nonce), 16), Resources: resources,
	})
}

func resource(typeURL, name, version string, size int) *discoveryv3.Resource {
	return &discoveryv3.Resource{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: typeURL, Value: body(size)}}
}
