// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import "google.golang.org/grpc/mem"

// largeFrom is the size in bytes from which a resource is kept where it arrived.
// It may share its first and last buffer, of 16 KiB each, with others, which then
// stay with it: for a small one that would be many times its size.
const largeFrom = 64 << 10

// resource is one Resource message, held apart from the response it came in.
type resource struct {
	version string
	small   []byte          // a copy, which nobody else refers to
	large   mem.BufferSlice // or a reference, which its holder gives back with free
}

// newResource gives a resource of bytes that belong to it.
func newResource(version string, b []byte) resource {
	if len(b) >= largeFrom {
		return resource{version: version, large: mem.BufferSlice{mem.SliceBuffer(b)}}
	}
	return resource{version: version, small: b}
}

func (r resource) free() { r.large.Free() }

// resource takes a resource out of a message. What is there may be used for it: it
// is of no more use to anybody. Resources must be taken in their order.
func (c *cursor) resource(ref resourceRef, there []byte) resource {
	c.skip(ref.offset - c.offset)
	n := ref.end - ref.offset
	if n >= largeFrom {
		return resource{version: ref.version, large: c.share(n)}
	}
	if cap(there) < n || cap(there)/4 > n {
		there = make([]byte, 0, n)
	}
	return resource{version: ref.version, small: c.copyTo(there[:0], n)}
}
