// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/mem"
)

// strictPool spoils a buffer when it is given back, so that whoever still reads
// it notices, and counts those that are out.
type strictPool struct{ out int }

func (p *strictPool) Get(n int) *[]byte {
	p.out++
	b := make([]byte, n)
	return &b
}

func (p *strictPool) Put(b *[]byte) {
	p.out--
	for i := range *b {
		(*b)[i] = 0xdb
	}
}

// arrive gives the message as gRPC does: in buffers of a pool.
func (p *strictPool) arrive(b []byte) mem.BufferSlice {
	var out mem.BufferSlice
	for piece := range slices.Chunk(b, 16<<10) {
		buf := p.Get(len(piece))
		copy(*buf, piece)
		out = append(out, mem.NewBuffer(buf, p))
	}
	return out
}

// TestLargeResourcesStayWhereTheyArrived: they are read from there for as long
// as the cache has them, and each buffer is given back exactly once, the one
// that a replaced, removed or forgotten resource lies in, too.
func TestLargeResourcesStayWhereTheyArrived(t *testing.T) {
	t.Parallel()
	var pool strictPool
	c := newCache()
	l := newLedger(c, time.Now)
	l.connect(1)
	l.request(nil, request{typeURL: clusterType})
	// deliver has Envoy accept a response.
	deliver := func(nonce string, r *discoveryv3.DeltaDiscoveryResponse) {
		t.Helper()
		r.TypeUrl, r.Nonce = clusterType, nonce
		data := pool.arrive(marshal(t, r))
		parsed, err := parseResponse(data)
		if err != nil {
			t.Fatal(err)
		}
		l.response(parsed, data)
		data.Free()
		l.request(nil, request{typeURL: clusterType, nonce: "1." + nonce})
	}
	check := func(name string, want *discoveryv3.Resource) {
		t.Helper()
		if got := c.of(clusterType)[name].whole(); !bytes.Equal(got, marshal(t, want)) {
			t.Errorf("%s is not what arrived", name)
		}
	}
	small := resourceOf("small", "1", strings.Repeat("s", 1000))
	big := resourceOf("big", "1", strings.Repeat("b", 200_000))
	huge := resourceOf("huge", "1", strings.Repeat("h", 500_000))
	deliver("a", &discoveryv3.DeltaDiscoveryResponse{Resources: []*discoveryv3.Resource{small, big, huge}})
	check("small", small)
	check("big", big)
	check("huge", huge)
	if pool.out < 700_000/(16<<10) {
		t.Errorf("only %d buffers are kept: large resources were copied", pool.out)
	}
	// A frame for another Envoy may outlive what it was made of.
	f := encodeResponse(clusterType, "x", []resource{c.of(clusterType)["big"]}, nil)
	changed := resourceOf("big", "2", strings.Repeat("c", 100_000))
	deliver("b", &discoveryv3.DeltaDiscoveryResponse{
		Resources: []*discoveryv3.Resource{changed}, RemovedResources: []string{"huge"},
	})
	check("big", changed)
	if !bytes.Contains(f.data.Materialize(), marshal(t, big)) {
		t.Error("a frame lost what it refers to")
	}
	f.free()
	c.retain(clusterType, map[string]string{"small": "1"})
	check("small", small)
	if pool.out != 0 {
		t.Errorf("%d buffers are kept for nothing", pool.out)
	}
}
