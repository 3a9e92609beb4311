// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// chop lays a message out in buffers of n bytes, as gRPC's transport does.
func chop(b []byte, n int) mem.BufferSlice {
	var out mem.BufferSlice
	for chunk := range slices.Chunk(b, n) {
		out = append(out, mem.SliceBuffer(chunk))
	}
	return out
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// takeAll takes the resources out of a message.
func takeAll(t *testing.T, data mem.BufferSlice, r response) []resource {
	t.Helper()
	var all []resource
	c := newCursor(data)
	for _, ref := range r.resources {
		c.skip(ref.offset - c.offset)
		twin := c
		all = append(all, c.resource(ref, nil))
		if where := twin.share(ref.end - ref.offset); !bytes.Equal(where.Materialize(), all[len(all)-1].whole()) {
			t.Error("a resource is not the same where it arrived")
		}
	}
	if c.err != nil {
		t.Fatal(c.err)
	}
	return all
}

func TestParseRequest(t *testing.T) {
	t.Parallel()
	b := marshal(t, &deltaRequest{
		Node: testNode(), TypeUrl: endpointType,
		ResourceNamesSubscribe: []string{"a", "b"}, ResourceNamesUnsubscribe: []string{"c"},
		InitialResourceVersions: map[string]string{"d": "1", "e": ""},
		ResponseNonce:           "n", ErrorDetail: &rpcstatus.Status{Code: 3, Message: "because"},
	})
	for n := 1; n <= len(b); n++ {
		r, err := parseRequest(chop(b, n))
		if err != nil {
			t.Fatalf("in chunks of %d: %v", n, err)
		}
		if !bytes.Equal(r.node, marshal(t, testNode())) || r.typeURL != endpointType || r.nonce != "n" ||
			!slices.Equal(r.subscribe, []string{"a", "b"}) || !slices.Equal(r.unsubscribe, []string{"c"}) ||
			!maps.Equal(r.initial, map[string]string{"d": "1", "e": ""}) || !r.rejected || r.reason != "because" {
			t.Fatalf("in chunks of %d: %+v", n, r)
		}
	}
}

func TestParseResponseFindsTheBodies(t *testing.T) {
	t.Parallel()
	want := &deltaResponse{
		SystemVersionInfo: "s", TypeUrl: clusterType, Nonce: "n", RemovedResources: []string{"x", "y"},
		Resources: []*discoveryv3.Resource{resourceOf("a", "1", "A"), {}, resourceOf("b", "2", strings.Repeat("B", 300))},
	}
	b := marshal(t, want)
	for n := 1; n <= len(b); n++ {
		data := chop(b, n)
		r, err := parseResponse(data)
		if err != nil {
			t.Fatalf("in chunks of %d: %v", n, err)
		}
		if r.typeURL != clusterType || r.nonce != "n" || !slices.Equal(r.removed, []string{"x", "y"}) || len(r.resources) != 3 {
			t.Fatalf("in chunks of %d: %+v", n, r)
		}
		again := encodeResponse(r.typeURL, r.nonce, takeAll(t, data, r), r.removed)
		got := &deltaResponse{}
		if err := proto.Unmarshal(again.data.Materialize(), got); err != nil {
			t.Fatal(err)
		}
		got.SystemVersionInfo = "s"
		if !proto.Equal(got, want) {
			t.Fatalf("in chunks of %d, put together again:\n got %v\nwant %v", n, got, want)
		}
	}
}

func TestEncodedRequestIsWhatItSays(t *testing.T) {
	t.Parallel()
	r := request{
		node: marshal(t, testNode()), typeURL: clusterType, subscribe: []string{"a"}, unsubscribe: []string{"b"},
		initial: map[string]string{"c": "1", "d": "2"}, nonce: "n",
	}
	got := &deltaRequest{}
	if err := proto.Unmarshal(r.encode(), got); err != nil {
		t.Fatal(err)
	}
	want := &deltaRequest{
		Node: testNode(), TypeUrl: clusterType, ResourceNamesSubscribe: []string{"a"}, ResourceNamesUnsubscribe: []string{"b"},
		InitialResourceVersions: map[string]string{"c": "1", "d": "2"}, ResponseNonce: "n",
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestALaterFieldOverrides(t *testing.T) {
	t.Parallel()
	f := answer(marshal(t, &deltaRequest{TypeUrl: clusterType, ResponseNonce: "theirs"}), clusterType, delivery{upstream: "ours"})
	got := &deltaRequest{}
	if err := proto.Unmarshal(f.data.Materialize(), got); err != nil {
		t.Fatal(err)
	}
	if got.GetResponseNonce() != "ours" || got.GetTypeUrl() != clusterType {
		t.Errorf("got %v", got)
	}
}

// FuzzParseResponse compares the walker with the protobuf library: what the
// library accepts, the walker reads the same, however it is cut up; and nothing
// makes it panic or read past the end.
func FuzzParseResponse(f *testing.F) {
	f.Add(marshal(f, &deltaResponse{
		TypeUrl: clusterType, Nonce: "n", RemovedResources: []string{"x"},
		Resources: []*discoveryv3.Resource{resourceOf("a", "1", "A")},
	}), 3)
	f.Add([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x0f}, 1)
	f.Add([]byte{0x12, 0x80, 0x00}, 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		r, err := parseResponse(chop(b, max(1, n%64)))
		want := &deltaResponse{}
		if proto.Unmarshal(b, want) != nil {
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "groups") {
				return // valid protobuf, but no field of these messages is one
			}
			t.Fatalf("the library accepts it, the walker says %v", err)
		}
		if r.typeURL != want.GetTypeUrl() || r.nonce != want.GetNonce() || len(r.resources) != len(want.GetResources()) ||
			!slices.Equal(r.removed, want.GetRemovedResources()) {
			t.Fatalf("walker %+v, library %v", r, want)
		}
		resources := takeAll(t, chop(b, max(1, n%64)), r)
		for i, ref := range r.resources {
			res := &discoveryv3.Resource{}
			if err := proto.Unmarshal(resources[i].whole(), res); err != nil {
				t.Fatalf("body %d: %v", i, err)
			}
			if !proto.Equal(res, want.GetResources()[i]) || res.GetName() != ref.name || res.GetVersion() != ref.version {
				t.Fatalf("resource %d: walker %+v, library %v", i, ref, res)
			}
		}
	})
}

// FuzzParseRequest does the same for requests.
func FuzzParseRequest(f *testing.F) {
	f.Add(marshal(f, &deltaRequest{
		Node: testNode(), TypeUrl: clusterType, ResponseNonce: "n", ResourceNamesSubscribe: []string{"a"},
		InitialResourceVersions: map[string]string{"a": "1"}, ErrorDetail: &rpcstatus.Status{Message: "m"},
	}), 5)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		r, err := parseRequest(chop(b, max(1, n%64)))
		want := &deltaRequest{}
		if proto.Unmarshal(b, want) != nil {
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "groups") {
				return
			}
			t.Fatalf("the library accepts it, the walker says %v", err)
		}
		if r.typeURL != want.GetTypeUrl() || r.nonce != want.GetResponseNonce() ||
			!slices.Equal(r.subscribe, want.GetResourceNamesSubscribe()) ||
			!maps.Equal(r.initial, want.GetInitialResourceVersions()) || r.rejected != (want.ErrorDetail != nil) {
			t.Fatalf("walker %+v, library %v", r, want)
		}
	})
}
