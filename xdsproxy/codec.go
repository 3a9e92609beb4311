// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// frame is one gRPC message as it stands on the wire. Whoever receives one
// owns a reference to its buffers and gives it back with free.
type frame struct {
	data    mem.BufferSlice
	typeURL string // of the resources that it is about, once that has been read
}

func newFrame(b []byte) *frame {
	return &frame{data: mem.BufferSlice{mem.SliceBuffer(b)}}
}

// with gives a frame of the same message with extra behind it. In protobuf a
// later scalar field overrides an earlier one, so a field of a message can be
// replaced without copying the message. The new frame takes over the
// reference of the old one.
func (f *frame) with(extra []byte) *frame {
	data := make(mem.BufferSlice, 0, len(f.data)+2) // one more for markSent
	data = append(data, f.data...)
	return &frame{data: append(data, mem.SliceBuffer(extra)), typeURL: f.typeURL}
}

func (f *frame) free() { f.data.Free() }

// markSent puts a buffer without content behind the message, and gives a channel
// that is closed when nobody needs the message's bytes for sending any more:
// gRPC frees the buffers of a message in their order, as it writes them.
func (f *frame) markSent() <-chan struct{} {
	sent := make(sentMark)
	b := make([]byte, 0, countedFrom)
	f.data = append(f.data, mem.NewBuffer(&b, sent))
	return sent
}

// countedFrom is the capacity in bytes from which gRPC counts the references to a
// buffer: the least that it pools.
const countedFrom = 1<<10 + 1

// sentMark is a pool to which one buffer returns.
type sentMark chan struct{}

func (m sentMark) Put(*[]byte) { close(m) }

// Get is not used: nothing is taken from the pool.
func (m sentMark) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// rawCodec hands messages through without decoding them. Its name is that of
// the protobuf codec, because that is what the bytes are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("raw codec: cannot send a %T", v)
	}
	f.data.Ref() // grpc frees what it is given; the frame keeps its own reference
	return f.data, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("raw codec: cannot receive into a %T", v)
	}
	data.Ref() // grpc frees its reference when this returns
	f.data = data
	return nil
}

func (rawCodec) Name() string { return "proto" }
