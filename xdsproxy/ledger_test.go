// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// books drives a ledger with whole messages.
type books struct {
	*ledger
	t *testing.T
}

func newBooks(t *testing.T, c *cache) books {
	t.Helper()
	return books{newLedger(c, time.Now), t}
}

func (b books) asks(r *deltaRequest) (toServer []*deltaRequest, toEnvoy []*deltaResponse) {
	b.t.Helper()
	message, parsed := b.parse(r)
	return b.decode(b.request(message, parsed))
}

func (b books) parse(r *deltaRequest) ([]byte, request) {
	b.t.Helper()
	message := marshal(b.t, r)
	parsed, err := parseRequest(mem.BufferSlice{mem.SliceBuffer(message)})
	if err != nil {
		b.t.Fatal(err)
	}
	return message, parsed
}

func (b books) decode(o orders) (toServer []*deltaRequest, toEnvoy []*deltaResponse) {
	b.t.Helper()
	for _, f := range o.upstream {
		m := &deltaRequest{}
		if err := proto.Unmarshal(f.data.Materialize(), m); err != nil {
			b.t.Fatal(err)
		}
		toServer = append(toServer, m)
	}
	for _, f := range o.envoy {
		m := &deltaResponse{}
		if err := proto.Unmarshal(f.data.Materialize(), m); err != nil {
			b.t.Fatal(err)
		}
		toEnvoy = append(toEnvoy, m)
	}
	return toServer, toEnvoy
}

func (b books) answers(r *deltaResponse) *deltaResponse {
	b.t.Helper()
	message := marshal(b.t, r)
	data := mem.BufferSlice{mem.SliceBuffer(message)}
	parsed, err := parseResponse(data)
	if err != nil {
		b.t.Fatal(err)
	}
	if nonce := b.response(parsed, data); nonce != "" {
		message = appendStrings(message, responseNonce, nonce)
	}
	out := &deltaResponse{}
	if err := proto.Unmarshal(message, out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b books) reconnects(gen uint64) []*deltaRequest {
	b.t.Helper()
	b.disconnect()
	toServer, _ := b.decode(b.connect(gen))
	return toServer
}

func expectRequests(t *testing.T, got []*deltaRequest, want ...*deltaRequest) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d requests to the server: %v\nwant %v", len(got), got, want)
	}
	for i := range want {
		expectRequest(t, got[i], want[i])
	}
}

// accepted gives books in which Envoy has accepted endpoints of a and b.
func accepted(t *testing.T, c *cache) books {
	t.Helper()
	b := newBooks(t, c)
	b.connect(1)
	b.asks(&deltaRequest{Node: testNode(), TypeUrl: endpointType, ResourceNamesSubscribe: []string{"a", "b"}})
	r := b.answers(&deltaResponse{TypeUrl: endpointType, Nonce: "1", Resources: []*discoveryv3.Resource{
		resourceOf("a", "1", "A"), resourceOf("b", "1", "B"),
	}})
	b.asks(&deltaRequest{TypeUrl: endpointType, ResponseNonce: r.GetNonce()})
	return b
}

func TestUnsubscribedNamesAreNotResumed(t *testing.T) {
	t.Parallel()
	c := newCache()
	b := accepted(t, c)
	b.asks(&deltaRequest{TypeUrl: endpointType, ResourceNamesUnsubscribe: []string{"a"}})
	expectRequests(t, b.reconnects(2), &deltaRequest{
		Node: testNode(), TypeUrl: endpointType, ResourceNamesSubscribe: []string{resumeName},
		InitialResourceVersions: map[string]string{"b": "1"},
	})
	if got := c.names(endpointType); len(got) != 1 || got[0] != "b" {
		t.Errorf("the cache has %v", got)
	}
}

func TestATypeWithoutNamesIsNotAskedFor(t *testing.T) {
	t.Parallel()
	b := accepted(t, nil)
	b.asks(&deltaRequest{TypeUrl: endpointType, ResourceNamesUnsubscribe: []string{"a", "b"}})
	expectRequests(t, b.reconnects(2)) // an empty list would mean everything
	toServer, _ := b.asks(&deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"c"}})
	expectRequests(t, toServer, &deltaRequest{Node: testNode(), TypeUrl: endpointType, ResourceNamesSubscribe: []string{"c"}})
}

func TestANameAskedForAgainIsWantedAgain(t *testing.T) {
	t.Parallel()
	b := accepted(t, nil)
	b.disconnect()
	b.asks(&deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"a"}})
	toServer, _ := b.decode(b.connect(2))
	expectRequests(t, toServer, &deltaRequest{
		Node: testNode(), TypeUrl: endpointType, ResourceNamesSubscribe: []string{"a"},
		InitialResourceVersions: map[string]string{"b": "1"},
	})
}

func TestSubscriptionsOfARejectionFollowIt(t *testing.T) {
	t.Parallel()
	b := accepted(t, nil)
	r := b.answers(&deltaResponse{TypeUrl: endpointType, Nonce: "2", Resources: []*discoveryv3.Resource{resourceOf("a", "2", "?")}})
	nack := &deltaRequest{
		TypeUrl: endpointType, ResponseNonce: r.GetNonce(), ResourceNamesSubscribe: []string{"c"},
		ErrorDetail: &rpcstatus.Status{Message: "no"},
	}
	toServer, _ := b.asks(nack)
	nack.ResponseNonce = "2"
	expectRequests(t, toServer, nack, &deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"c"}})
}

func TestSubscriptionsOfALateAnswerAreNotLost(t *testing.T) {
	t.Parallel()
	b := accepted(t, nil)
	r := b.answers(&deltaResponse{TypeUrl: clusterType, Nonce: "2"}) // a type without a subscription
	if r.GetNonce() != "2" {
		t.Errorf("nonce of a type that nobody asked for: %q", r.GetNonce())
	}
	b.reconnects(2)
	// The nonce is of no delivery that is pending: only the names count.
	toServer, _ := b.asks(&deltaRequest{TypeUrl: endpointType, ResponseNonce: "1.1", ResourceNamesSubscribe: []string{"c"}})
	expectRequests(t, toServer, &deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"c"}})
}

func TestWildcardWithNames(t *testing.T) {
	t.Parallel()
	b := newBooks(t, nil)
	b.asks(&deltaRequest{Node: testNode(), TypeUrl: clusterType, ResourceNamesSubscribe: []string{"*", "a"}})
	expectRequests(t, b.reconnects(1), &deltaRequest{
		Node: testNode(), TypeUrl: clusterType, ResourceNamesSubscribe: []string{"*", "a"},
	})
	b.asks(&deltaRequest{TypeUrl: clusterType, ResourceNamesUnsubscribe: []string{"*"}})
	expectRequests(t, b.reconnects(2), &deltaRequest{
		Node: testNode(), TypeUrl: clusterType, ResourceNamesSubscribe: []string{"a"},
	})
}

func TestAReconnectingEnvoyIsToldWhatVanished(t *testing.T) {
	t.Parallel()
	c := newCache()
	c.put(clusterType, "a", resource{version: "2", small: marshal(t, resourceOf("a", "2", "A"))})
	c.put(clusterType, "b", resource{version: "1", small: marshal(t, resourceOf("b", "1", "B"))})
	b := newBooks(t, c)
	_, toEnvoy := b.asks(&deltaRequest{
		Node: testNode(), TypeUrl: clusterType,
		InitialResourceVersions: map[string]string{"a": "1", "b": "1", "gone": "1"},
	})
	if len(toEnvoy) != 1 || len(toEnvoy[0].GetResources()) != 1 || toEnvoy[0].GetResources()[0].GetName() != "a" ||
		len(toEnvoy[0].GetRemovedResources()) != 1 || toEnvoy[0].GetRemovedResources()[0] != "gone" {
		t.Errorf("from the cache: %v", toEnvoy)
	}
	b.asks(&deltaRequest{TypeUrl: clusterType, ResponseNonce: toEnvoy[0].GetNonce()})
	expectRequests(t, b.reconnects(1), &deltaRequest{
		Node: testNode(), TypeUrl: clusterType, InitialResourceVersions: map[string]string{"a": "2", "b": "1"},
	})
}

func TestAnEmptyCacheSaysNothing(t *testing.T) {
	t.Parallel()
	b := newBooks(t, newCache())
	if _, toEnvoy := b.asks(&deltaRequest{Node: testNode(), TypeUrl: clusterType}); len(toEnvoy) > 0 {
		t.Errorf("an envoy without clusters was told that this is all: %v", toEnvoy)
	}
}

func TestAStreamThatWasReplacedLeavesTheCacheAlone(t *testing.T) {
	t.Parallel()
	c := newCache()
	b := accepted(t, c)
	r := b.answers(&deltaResponse{TypeUrl: endpointType, Nonce: "2", RemovedResources: []string{"a"}})
	b.close()
	b.asks(&deltaRequest{TypeUrl: endpointType, ResponseNonce: r.GetNonce()})
	if got := c.names(endpointType); len(got) != 2 {
		t.Errorf("the cache has %v", got)
	}
}

// TestReadingTheCacheDoesNotFillIt: an Envoy that reconnects says what it holds,
// and the answer that it accepted never arrived here. Nothing is known to be
// whole then, so the next Envoy must not be told that nothing is all there is.
func TestReadingTheCacheDoesNotFillIt(t *testing.T) {
	t.Parallel()
	c := newCache()
	b := newBooks(t, c)
	b.connect(1)
	b.asks(&deltaRequest{
		Node: testNode(), TypeUrl: clusterType, InitialResourceVersions: map[string]string{"a": "1"},
	})
	b.close()
	if _, toEnvoy := newBooks(t, c).asks(&deltaRequest{Node: testNode(), TypeUrl: clusterType}); len(toEnvoy) > 0 {
		t.Errorf("a new envoy was told that this is all: %v", toEnvoy)
	}
}
