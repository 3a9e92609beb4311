// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/mem"
)

// BenchmarkUpdate is what the proxy itself does for an update of 1 KiB and for
// Envoy's answer to it, without reading and writing either.
func BenchmarkUpdate(b *testing.B) {
	s, err := New(Config{PeerPID: func() int { return 0 }, Upstream: neverAsked{}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ss := newSession(s, nil)
	ss.toUp = newQueue()
	ss.ledger.connect(1)
	if err := ss.receive(marshal(b, &deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"web"}})); err != nil {
		b.Fatal(err)
	}
	freeAll(ss.toUp.take(nil))
	update := marshal(b, &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: endpointType, Nonce: "00000001",
		Resources: []*discoveryv3.Resource{resourceOf("web", "1", strings.Repeat("x", 1<<10))},
	})
	b.ReportAllocs()
	for b.Loop() {
		data := mem.BufferSlice{mem.SliceBuffer(update)}
		r, err := parseResponse(data)
		if err != nil {
			b.Fatal(err)
		}
		ss.book(data, r)
		ack := appendStrings(make([]byte, 0, 128), requestTypeURL, endpointType)
		ack = appendStrings(ack, requestNonce, "1."+"00000001")
		if err := ss.receive(ack); err != nil {
			b.Fatal(err)
		}
		freeAll(ss.toUp.take(nil))
	}
	if held := ss.ledger.types[endpointType].held["web"]; held != "1" {
		b.Errorf("envoy holds version %q", held)
	}
}
