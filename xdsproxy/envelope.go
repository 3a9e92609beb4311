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

// resource is one Resource message, held apart from the response it came in.
type resource struct {
	version string
	body    mem.BufferSlice // a reference, which its holder gives back with free
}

func (r resource) free() { r.body.Free() }

func parseRequest(data mem.BufferSlice) (request, error) {
	var r request
	c := newCursor(data)
	err := c.fields(func(num protowire.Number, typ protowire.Type) (done bool, err error) {
		if typ != protowire.BytesType {
			return false, nil
		}
		switch num {
		case requestNode:
			n, err := c.length()
			if err != nil {
				return true, err
			}
			r.node, err = c.bytes(n)
			return true, err
		case requestTypeURL:
			r.typeURL, err = c.str()
		case requestSubscribe:
			r.subscribe, err = appendString(c, r.subscribe)
		case requestUnsubscribe:
			r.unsubscribe, err = appendString(c, r.unsubscribe)
		case requestInitial:
			err = r.parseInitial(c)
		case requestNonce:
			r.nonce, err = c.str()
		case requestErrorDetail:
			r.rejected = true
			err = r.parseErrorDetail(c)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return request{}, fmt.Errorf("read delta discovery request: %w", err)
	}
	return r, nil
}

func appendString(c *cursor, to []string) ([]string, error) {
	s, err := c.str()
	return append(to, s), err
}

func (r *request) parseInitial(c *cursor) error {
	var name, version string
	err := nested(c, func(num protowire.Number, typ protowire.Type) (bool, error) {
		var err error
		switch {
		case num == 1 && typ == protowire.BytesType:
			name, err = c.str()
		case num == 2 && typ == protowire.BytesType:
			version, err = c.str()
		default:
			return false, nil
		}
		return true, err
	})
	if r.initial == nil {
		r.initial = make(map[string]string)
	}
	r.initial[name] = version
	return err
}

func (r *request) parseErrorDetail(c *cursor) error {
	return nested(c, func(num protowire.Number, typ protowire.Type) (bool, error) {
		if num != statusMessage || typ != protowire.BytesType {
			return false, nil
		}
		words, err := c.str()
		r.reason = withoutKeys(words)
		return true, err
	})
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

// nested reads the fields of the message that the cursor stands in front of.
func nested(c *cursor, visit func(protowire.Number, protowire.Type) (bool, error)) error {
	n, err := c.length()
	if err != nil {
		return err
	}
	return c.within(n, visit)
}

func parseResponse(data mem.BufferSlice) (response, error) {
	var r response
	c := newCursor(data)
	err := c.fields(func(num protowire.Number, typ protowire.Type) (done bool, err error) {
		if typ != protowire.BytesType {
			return false, nil
		}
		switch num {
		case responseResources:
			err = r.parseResource(c)
		case responseTypeURL:
			r.typeURL, err = c.str()
		case responseNonce:
			r.nonce, err = c.str()
		case responseRemoved:
			r.removed, err = appendString(c, r.removed)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return response{}, fmt.Errorf("read delta discovery response: %w", err)
	}
	return r, nil
}

func (r *response) parseResource(c *cursor) error {
	n, err := c.length()
	if err != nil {
		return err
	}
	ref := resourceRef{offset: c.offset, end: c.offset + n}
	err = c.within(n, func(num protowire.Number, typ protowire.Type) (bool, error) {
		var err error
		switch {
		case num == resourceVersion && typ == protowire.BytesType:
			ref.version, err = c.str()
		case num == resourceName && typ == protowire.BytesType:
			ref.name, err = c.str()
		default:
			return false, nil
		}
		return true, err
	})
	r.resources = append(r.resources, ref)
	return err
}

// frame gives the request for the wire.
func (r request) frame() *frame {
	return &frame{data: mem.BufferSlice{mem.SliceBuffer(r.encode())}, typeURL: r.typeURL}
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

// encodeResponse gives a response of resources that are held here. The bodies
// are referred to, not copied.
func encodeResponse(typeURL, nonce string, bodies []mem.BufferSlice, removed []string) *frame {
	var data mem.BufferSlice
	for _, body := range bodies {
		head := protowire.AppendTag(nil, responseResources, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(body.Len()))
		body.Ref()
		data = append(append(data, mem.SliceBuffer(head)), body...)
	}
	tail := appendStrings(nil, responseTypeURL, typeURL)
	tail = appendStrings(tail, responseNonce, nonce)
	tail = appendStrings(tail, responseRemoved, removed...)
	return &frame{data: append(data, mem.SliceBuffer(tail)), typeURL: typeURL}
}

func nonceField(num protowire.Number, nonce string) []byte {
	return appendStrings(nil, num, nonce)
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

// extract takes the resources out of a message that lies in several buffers:
// large ones, of at least shareFrom bytes, as references to those buffers, small
// ones as copies. The refs must be in ascending order, as parseResponse gives them.
func extract(data mem.BufferSlice, refs []resourceRef, shareFrom int) ([]mem.BufferSlice, error) {
	c := newCursor(data)
	bodies := make([]mem.BufferSlice, len(refs))
	for i, ref := range refs {
		err := c.skip(ref.offset - c.offset)
		if err == nil {
			bodies[i], err = c.body(ref.end-ref.offset, shareFrom)
		}
		if err != nil {
			for _, b := range bodies[:i] {
				b.Free()
			}
			return nil, err
		}
	}
	return bodies, nil
}
