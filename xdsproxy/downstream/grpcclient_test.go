// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// bytesCodec has messages be bytes.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("bytes codec: cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("bytes codec: cannot receive into a %T", v)
	}
	*b = data.Materialize()
	return nil
}

func (bytesCodec) Name() string { return "proto" }

// dial gives a client of grpc-go.
func (s *server) dial(options ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///test", append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(1<<30)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, s.addr.Network(), s.addr.String())
		}))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// call is a stream of a client of grpc-go.
type call struct {
	grpc.ClientStream
	t *testing.T
}

func newCall(t *testing.T, conn *grpc.ClientConn, method string) *call {
	t.Helper()
	return newCallWith(t.Context(), t, conn, method)
}

func newCallWith(ctx context.Context, t *testing.T, conn *grpc.ClientConn, method string) *call {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, desc, method)
	if err != nil {
		t.Fatal(err)
	}
	return &call{ClientStream: stream, t: t}
}

// call opens a stream on a connection of its own.
func (s *server) call() *call {
	s.t.Helper()
	return newCall(s.t, s.dial(), testMethod)
}

func (c *call) send(message []byte) {
	c.t.Helper()
	if err := c.SendMsg(&message); err != nil {
		c.t.Fatal(err)
	}
}

func (c *call) receive() []byte {
	c.t.Helper()
	var message []byte
	if err := c.RecvMsg(&message); err != nil {
		c.t.Fatal(err)
	}
	return message
}

// end gives the status with which the stream ends, after whatever comes before; nil
// is OK.
func (c *call) end() *status.Status {
	c.t.Helper()
	for {
		var message []byte
		if err := c.RecvMsg(&message); err != nil {
			if errors.Is(c.Context().Err(), context.DeadlineExceeded) {
				c.t.Fatal("the stream does not end")
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return status.Convert(err)
		}
	}
}
