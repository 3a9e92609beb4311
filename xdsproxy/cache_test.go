// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"bytes"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/mem"
)

// TestASmallResourceIsReplacedInItsRoom: what was made of the one before it, for a
// new Envoy or for the disk, stays as it was.
func TestASmallResourceIsReplacedInItsRoom(t *testing.T) {
	t.Parallel()
	c := newCache()
	accept := func(version, body string) *discoveryv3.Resource {
		r := resourceOf("web", version, body)
		data := mem.BufferSlice{mem.SliceBuffer(marshal(t, &deltaResponse{TypeUrl: clusterType, Resources: []*discoveryv3.Resource{r}}))}
		parsed, err := parseResponse(data)
		if err != nil {
			t.Fatal(err)
		}
		message := newCursor(data)
		c.take(clusterType, &message, parsed.resources[0])
		return r
	}
	is := func(want *discoveryv3.Resource) {
		t.Helper()
		if got := c.of(clusterType)["web"]; got.version != want.GetVersion() || !bytes.Equal(got.whole(), marshal(t, want)) {
			t.Errorf("the cache holds %q", got.whole())
		}
	}
	first := accept("1", strings.Repeat("a", 1000))
	is(first)
	sent := encodeResponse(clusterType, "n", []resource{c.of(clusterType)["web"]}, nil)
	saved := c.snapshot()
	before := &c.of(clusterType)["web"].small[0]
	is(accept("2", strings.Repeat("b", 900)))
	if &c.of(clusterType)["web"].small[0] != before {
		t.Error("the room was not used again")
	}
	for what, b := range map[string][]byte{"response": sent.data.Materialize(), "snapshot": saved} {
		if !bytes.Contains(b, marshal(t, first)) {
			t.Errorf("a %s changed after it was made", what)
		}
	}
	is(accept("3", strings.Repeat("c", 2000))) // larger than its room
	is(accept("4", "d"))                       // so small that the room would be a waste
	if room := cap(c.of(clusterType)["web"].small); room > 500 {
		t.Errorf("a resource of a few bytes keeps room for %d", room)
	}
	is(accept("5", strings.Repeat("e", 2*largeFrom)))
	is(accept("6", "f"))
}

// TestAReplacedStreamDoesNotReachTheCache: what Envoy still says on it is about a
// configuration that a newer stream has left behind.
func TestAReplacedStreamDoesNotReachTheCache(t *testing.T) {
	t.Parallel()
	c := newCache()
	l := newLedger(c, time.Now)
	l.connect(1)
	l.request(nil, request{typeURL: clusterType})
	data := mem.BufferSlice{mem.SliceBuffer(marshal(t, &deltaResponse{
		TypeUrl: clusterType, Nonce: "a", Resources: []*discoveryv3.Resource{resourceOf("web", "1", "W")},
	}))}
	parsed, err := parseResponse(data)
	if err != nil {
		t.Fatal(err)
	}
	nonce := l.response(parsed, data)
	l.close()
	l.request(nil, request{typeURL: clusterType, nonce: nonce})
	if c.has(clusterType) {
		t.Error("an answer on a stream that was replaced is in the cache")
	}
}
