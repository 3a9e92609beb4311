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
	one     [1]mem.Buffer
}

// newFrame gives a frame of a message in one piece, which belongs to it.
func newFrame(b []byte, typeURL string) *frame {
	f := &frame{typeURL: typeURL, one: [1]mem.Buffer{mem.SliceBuffer(b)}}
	f.data = f.one[:]
	return f
}

func (f *frame) free() { f.data.Free() }

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
