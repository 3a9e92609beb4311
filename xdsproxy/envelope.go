// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of envoy.service.discovery.v3, see
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/discovery/v3/discovery.proto.
const (
	requestNode        = 1
	requestTypeURL     = 2
	requestSubscribe   = 3
	requestUnsubscribe = 4
	requestInitial     = 5
	requestNonce       = 6
	requestErrorDetail = 7

	responseResources = 2
	responseTypeURL   = 4
	responseNonce     = 5
	responseRemoved   = 6

	resourceVersion = 1
	resourceName    = 3

	statusMessage = 2
)

// request is the envelope of a DeltaDiscoveryRequest.
type request struct {
	node        []byte // the Node message as Envoy encoded it; nil if absent
	typeURL     string
	subscribe   []string
	unsubscribe []string
	initial     map[string]string // resource name to the version that Envoy holds
	nonce       string            // of the response that this answers; "" if it answers none
	rejected    bool              // error_detail is present: a NACK
	reason      string            // its message
}

// response is the envelope of a DeltaDiscoveryResponse.
type response struct {
	typeURL   string
	nonce     string
	resources []resourceRef
	removed   []string
}

// resourceRef says which resource a response carries and where its bytes lie
// in the message: those of the whole Resource message, from offset to end.
type resourceRef struct {
	name, version string
	offset, end   int
}

func parseRequest(data mem.BufferSlice) (request, error) {
	var r request
	c := newCursor(data)
	for c.field() {
		switch {
		case c.isBytes(requestNode):
			r.node = c.bytes()
		case c.isBytes(requestTypeURL):
			r.typeURL = c.typeURL()
		case c.isBytes(requestSubscribe):
			r.subscribe = append(r.subscribe, c.str())
		case c.isBytes(requestUnsubscribe):
			r.unsubscribe = append(r.unsubscribe, c.str())
		case c.isBytes(requestInitial):
			r.parseInitial(&c)
		case c.isBytes(requestNonce):
			r.nonce = c.str()
		case c.isBytes(requestErrorDetail):
			r.rejected = true
			r.parseErrorDetail(&c)
		default:
			c.skipValue()
		}
	}
	if c.err != nil {
		return request{}, fmt.Errorf("read delta discovery request: %w", c.err)
	}
	return r, nil
}

func (r *request) parseInitial(c *cursor) {
	var name, version string
	around := c.enter()
	for c.field() {
		switch {
		case c.isBytes(1):
			name = c.str()
		case c.isBytes(2):
			version = c.str()
		default:
			c.skipValue()
		}
	}
	c.leave(around)
	if r.initial == nil {
		r.initial = make(map[string]string)
	}
	r.initial[name] = version
}

func (r *request) parseErrorDetail(c *cursor) {
	around := c.enter()
	for c.field() {
		if c.isBytes(statusMessage) {
			r.reason = withoutKeys(c.str())
		} else {
			c.skipValue()
		}
	}
	c.leave(around)
}

// withoutKeys cuts a reason off where it begins to hold a key. Envoy repeats a
// whole message that fails its validation, and Consul puts the proxy's private
// key into the messages: https://github.com/envoyproxy/envoy/issues/6768.
func withoutKeys(reason string) string {
	for _, mark := range []string{"private_key", "-----BEGIN", "inline_string", "inline_bytes"} {
		if before, _, found := strings.Cut(reason, mark); found {
			reason = before + "[cut off: what follows may hold a key]"
		}
	}
	return reason
}

func parseResponse(data mem.BufferSlice) (response, error) {
	var r response
	c := newCursor(data)
	for c.field() {
		switch {
		case c.isBytes(responseResources):
			r.resources = append(r.resources, parseResource(&c))
		case c.isBytes(responseTypeURL):
			r.typeURL = c.typeURL()
		case c.isBytes(responseNonce):
			r.nonce = c.str()
		case c.isBytes(responseRemoved):
			r.removed = append(r.removed, c.str())
		default:
			c.skipValue()
		}
	}
	if c.err != nil {
		return response{}, fmt.Errorf("read delta discovery response: %w", c.err)
	}
	return r, nil
}

func parseResource(c *cursor) resourceRef {
	around := c.enter()
	ref := resourceRef{offset: c.offset, end: c.end}
	for c.field() {
		switch {
		case c.isBytes(resourceVersion):
			ref.version = c.str()
		case c.isBytes(resourceName):
			ref.name = c.str()
		default:
			c.skipValue()
		}
	}
	c.leave(around)
	return ref
}

// frame gives the request for the wire.
func (r request) frame() *frame {
	return newFrame(r.encode(), r.typeURL)
}

// encode gives the wire form of a request. What Envoy said is sent on as Envoy
// encoded it; this is for the requests that the proxy makes itself.
func (r request) encode() []byte {
	var b []byte
	if r.node != nil {
		b = appendBytes(b, requestNode, r.node)
	}
	b = appendStrings(b, requestTypeURL, r.typeURL)
	b = appendStrings(b, requestSubscribe, r.subscribe...)
	b = appendStrings(b, requestUnsubscribe, r.unsubscribe...)
	for _, name := range slices.Sorted(maps.Keys(r.initial)) {
		entry := appendStrings(nil, 1, name)
		entry = appendStrings(entry, 2, r.initial[name])
		b = appendBytes(b, requestInitial, entry)
	}
	if r.nonce != "" {
		b = appendStrings(b, requestNonce, r.nonce)
	}
	return b
}

// encodeResponse gives a response of resources that are held here. Large bodies are
// referred to, not copied.
func encodeResponse(typeURL, nonce string, resources []resource, removed []string) *frame {
	var data mem.BufferSlice
	small := 0
	for _, r := range resources {
		small += len(r.small)
	}
	b := make([]byte, 0, small+16*len(resources)+len(typeURL)+64) // what is to be behind data
	for _, r := range resources {
		b = protowire.AppendTag(b, responseResources, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(len(r.small)+r.large.Len()))
		b = append(b, r.small...)
		if len(r.large) > 0 {
			r.large.Ref()
			data = append(append(data, mem.SliceBuffer(b)), r.large...)
			b = nil
		}
	}
	b = appendStrings(b, responseTypeURL, typeURL)
	b = appendStrings(b, responseNonce, nonce)
	b = appendStrings(b, responseRemoved, removed...)
	return &frame{data: append(data, mem.SliceBuffer(b)), typeURL: typeURL}
}

func appendStrings(b []byte, num protowire.Number, values ...string) []byte {
	for _, v := range values {
		b = protowire.AppendTag(b, num, protowire.BytesType)
		b = protowire.AppendString(b, v)
	}
	return b
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}
