// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"errors"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

var errTruncated = errors.New("message ends in the middle of a field")

// cursor reads protobuf fields from a message that lies in several buffers,
// without joining them: large messages are never copied only to be looked at.
// After an error there is nothing more to read, and what is asked for is empty.
type cursor struct {
	chunks mem.BufferSlice
	chunk  []byte // what is left of the current buffer
	next   int    // index of the buffer after it
	offset int    // bytes read so far
	end    int    // where the message, or the part of it, ends

	num protowire.Number // of the field whose value is next
	typ protowire.Type
	err error
}

func newCursor(data mem.BufferSlice) cursor {
	return cursor{chunks: data, end: data.Len()}
}

// field moves on to the next field and tells whether there is one. Its value has to
// be read or skipped.
func (c *cursor) field() bool {
	if c.offset >= c.end || c.err != nil {
		return false
	}
	c.num, c.typ = protowire.DecodeTag(c.varint())
	if c.num < protowire.MinValidNumber {
		c.fail(errors.New("invalid field number"))
	}
	return c.err == nil
}

// isBytes tells whether the field is of that number, and a string, bytes or a
// message.
func (c *cursor) isBytes(num protowire.Number) bool {
	return c.num == num && c.typ == protowire.BytesType
}

// enter makes the message that is the field's value the one that is read, and leave
// goes back to the one around it.
func (c *cursor) enter() (around int) {
	n := c.length()
	around, c.end = c.end, c.offset+n
	return around
}

func (c *cursor) leave(around int) { c.end = around }

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// fill makes the current chunk non-empty, or tells that there is no more.
func (c *cursor) fill() bool {
	for len(c.chunk) == 0 {
		if c.next == len(c.chunks) {
			return false
		}
		c.chunk = c.chunks[c.next].ReadOnlyData()
		c.next++
	}
	return true
}

func (c *cursor) varint() uint64 {
	if len(c.chunk) > 0 && c.chunk[0] < 0x80 && c.offset < c.end { // nearly always
		v := uint64(c.chunk[0])
		c.chunk = c.chunk[1:]
		c.offset++
		return v
	}
	return c.longVarint()
}

func (c *cursor) longVarint() uint64 {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		if c.offset >= c.end || !c.fill() {
			c.fail(errTruncated)
			return 0
		}
		b := c.chunk[0]
		c.chunk = c.chunk[1:]
		c.offset++
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	c.fail(errors.New("varint is longer than 64 bits"))
	return 0
}

// fits tells whether n bytes are left, and is the end if they are not.
func (c *cursor) fits(n int) bool {
	if n < 0 || n > c.end-c.offset {
		c.fail(errTruncated)
	}
	return c.err == nil
}

// skip moves n bytes forward.
func (c *cursor) skip(n int) {
	if !c.fits(n) {
		return
	}
	c.offset += n
	for n > 0 {
		if !c.fill() {
			c.fail(errTruncated)
			return
		}
		step := min(n, len(c.chunk))
		c.chunk = c.chunk[step:]
		n -= step
	}
}

// copyTo gives the next n bytes behind those of b.
func (c *cursor) copyTo(b []byte, n int) []byte {
	if !c.fits(n) {
		return b
	}
	c.offset += n
	for n > 0 {
		if !c.fill() {
			c.fail(errTruncated)
			return b
		}
		step := min(n, len(c.chunk))
		b = append(b, c.chunk[:step]...)
		c.chunk = c.chunk[step:]
		n -= step
	}
	return b
}

// share returns the next n bytes where they lie, with references to the buffers.
func (c *cursor) share(n int) mem.BufferSlice {
	if !c.fits(n) {
		return nil
	}
	out := make(mem.BufferSlice, 0, c.spanned(n))
	c.offset += n
	for n > 0 {
		if !c.fill() {
			out.Free()
			c.fail(errTruncated)
			return nil
		}
		b := c.chunks[c.next-1]
		start, step := b.Len()-len(c.chunk), min(n, len(c.chunk))
		out = append(out, b.Slice(start, start+step))
		c.chunk = c.chunk[step:]
		n -= step
	}
	return out
}

// spanned gives the number of buffers over which the next n bytes spread.
func (c *cursor) spanned(n int) int {
	count := 1
	for next := c.next; n > len(c.chunk) && next < len(c.chunks); next++ {
		n -= c.chunks[next].Len()
		count++
	}
	return count
}

// length reads the length of a length-delimited field and checks that it fits.
func (c *cursor) length() int {
	v := c.varint()
	if v > uint64(c.end-c.offset) {
		c.fail(errTruncated)
	}
	if c.err != nil {
		return 0
	}
	return int(v)
}

// bytes reads a length-delimited field as a copy of it.
func (c *cursor) bytes() []byte {
	n := c.length()
	return c.copyTo(make([]byte, 0, n), n)
}

// str reads a length-delimited field as a string.
func (c *cursor) str() string {
	n := c.length()
	if n <= len(c.chunk) { // nearly always: one copy less
		s := string(c.chunk[:n])
		c.skip(n)
		return s
	}
	return string(c.copyTo(make([]byte, 0, n), n))
}

// typeURL reads a type URL as a string, which is not a new one for the types that
// Envoy asks for.
func (c *cursor) typeURL() string {
	ahead := *c
	if n := ahead.length(); ahead.err == nil && n <= len(ahead.chunk) {
		if known := knownType(ahead.chunk[:n]); known != "" {
			*c = ahead
			c.skip(n)
			return known
		}
	}
	return c.str()
}

// skipValue passes over the field's value.
func (c *cursor) skipValue() {
	switch c.typ {
	case protowire.VarintType:
		c.varint()
	case protowire.Fixed32Type:
		c.skip(4)
	case protowire.Fixed64Type:
		c.skip(8)
	case protowire.BytesType:
		c.skip(c.length())
	default:
		c.fail(errors.New("groups are not part of the xDS messages"))
	}
}
