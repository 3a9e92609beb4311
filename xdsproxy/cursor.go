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
type cursor struct {
	chunks mem.BufferSlice
	chunk  []byte // what is left of the current buffer
	next   int    // index of the buffer after it
	offset int    // bytes read so far
	end    int    // where the message, or the part of it, ends
}

func newCursor(data mem.BufferSlice) *cursor {
	return &cursor{chunks: data, end: data.Len()}
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

func (c *cursor) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		if c.offset >= c.end || !c.fill() {
			return 0, errTruncated
		}
		b := c.chunk[0]
		c.chunk = c.chunk[1:]
		c.offset++
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errors.New("varint is longer than 64 bits")
}

// skip moves n bytes forward.
func (c *cursor) skip(n int) error {
	if n < 0 || n > c.end-c.offset {
		return errTruncated
	}
	c.offset += n
	for n > 0 {
		if !c.fill() {
			return errTruncated
		}
		step := min(n, len(c.chunk))
		c.chunk = c.chunk[step:]
		n -= step
	}
	return nil
}

// bytes returns a copy of the next n bytes.
func (c *cursor) bytes(n int) ([]byte, error) {
	if n < 0 || n > c.end-c.offset {
		return nil, errTruncated
	}
	out := make([]byte, 0, n)
	c.offset += n
	for len(out) < n {
		if !c.fill() {
			return nil, errTruncated
		}
		step := min(n-len(out), len(c.chunk))
		out = append(out, c.chunk[:step]...)
		c.chunk = c.chunk[step:]
	}
	return out, nil
}

// body returns the next n bytes: a reference to them if they are shareFrom or
// more, else a copy.
func (c *cursor) body(n, shareFrom int) (mem.BufferSlice, error) {
	if n >= shareFrom {
		return c.share(n)
	}
	b, err := c.bytes(n)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

// share returns the next n bytes where they lie, with references to the buffers.
func (c *cursor) share(n int) (mem.BufferSlice, error) {
	if n < 0 || n > c.end-c.offset {
		return nil, errTruncated
	}
	out := make(mem.BufferSlice, 0, c.spanned(n))
	c.offset += n
	for n > 0 {
		if !c.fill() {
			out.Free()
			return nil, errTruncated
		}
		b := c.chunks[c.next-1]
		start, step := b.Len()-len(c.chunk), min(n, len(c.chunk))
		out = append(out, b.Slice(start, start+step))
		c.chunk = c.chunk[step:]
		n -= step
	}
	return out, nil
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
func (c *cursor) length() (int, error) {
	v, err := c.varint()
	if err != nil {
		return 0, err
	}
	if v > uint64(c.end-c.offset) {
		return 0, errTruncated
	}
	return int(v), nil
}

// str reads a length-delimited field as a string.
func (c *cursor) str() (string, error) {
	n, err := c.length()
	if err != nil {
		return "", err
	}
	if n <= len(c.chunk) { // nearly always: one copy less
		s := string(c.chunk[:n])
		return s, c.skip(n)
	}
	b, err := c.bytes(n)
	return string(b), err
}

// fields calls visit for each field up to the end of the message. visit returns
// true when it has read the field's value; otherwise the value is skipped.
func (c *cursor) fields(visit func(protowire.Number, protowire.Type) (bool, error)) error {
	for c.offset < c.end {
		tag, err := c.varint()
		if err != nil {
			return err
		}
		num, typ := protowire.DecodeTag(tag)
		if num < protowire.MinValidNumber {
			return errors.New("invalid field number")
		}
		done, err := visit(num, typ)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		if err := c.skipValue(typ); err != nil {
			return err
		}
	}
	return nil
}

// within reads the fields of the next n bytes, which length has checked.
func (c *cursor) within(n int, visit func(protowire.Number, protowire.Type) (bool, error)) error {
	outer := c.end
	c.end = c.offset + n
	err := c.fields(visit)
	c.end = outer
	return err
}

func (c *cursor) skipValue(typ protowire.Type) error {
	switch typ {
	case protowire.VarintType:
		_, err := c.varint()
		return err
	case protowire.Fixed32Type:
		return c.skip(4)
	case protowire.Fixed64Type:
		return c.skip(8)
	case protowire.BytesType:
		n, err := c.length()
		if err != nil {
			return err
		}
		return c.skip(n)
	default:
		return errors.New("groups are not part of the xDS messages")
	}
}
