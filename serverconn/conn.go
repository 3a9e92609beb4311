// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"math"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// tokenKey is the metadata key of the ACL token. Of several values a server
// takes the first, so that one must be all there is.
const tokenKey = "x-consul-token"

var errLeft = status.Error(codes.Unavailable, "the session moved to another Consul server or token")

// conn sends each request over the epoch of the moment, with its token.
type conn struct{ session *Session }

var _ grpc.ClientConnInterface = conn{}

// Invoke makes a unary call. Without a session it fails at once.
func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	e, err := c.session.usable()
	if err != nil {
		return err
	}
	err = e.conn.Invoke(withToken(ctx, e.token), method, args, reply, callOptions(opts)...)
	e.link.noticeRefusal(err)
	return c.session.withoutSecrets(err)
}

// NewStream opens a stream. It ends with Unavailable, at the latest a moment
// after the session has moved to another server or token. Without a session
// NewStream fails at once.
func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	e, err := c.session.usable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(withToken(ctx, e.token))
	st := &stream{session: c.session, epoch: e, cancel: cancel}
	if !e.adopt(st) {
		cancel()
		return nil, errLeft
	}
	// The caller may end a stream by its own context alone, so the context's
	// end, which also follows every other end, is what takes it off the books.
	context.AfterFunc(ctx, func() { e.drop(st) })
	if st.ClientStream, err = e.conn.NewStream(ctx, desc, method, callOptions(opts)...); err != nil {
		err = st.ended(err)
		return nil, err
	}
	return st, nil
}

// callOptions lifts gRPC's limit of 4 MiB for received messages, unless the
// caller sets another: a large mesh's configuration is larger, and a message
// over the limit would look like an overloaded server.
func callOptions(opts []grpc.CallOption) []grpc.CallOption {
	return append([]grpc.CallOption{grpc.MaxCallRecvMsgSize(math.MaxInt32)}, opts...)
}

// withToken makes secret the only token in the request's metadata; "" makes it
// carry none.
func withToken(ctx context.Context, secret string) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	if secret == "" {
		md.Delete(tokenKey)
	} else {
		md.Set(tokenKey, secret)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// stream is a stream that ends with its epoch.
type stream struct {
	grpc.ClientStream
	session *Session
	epoch   *epoch
	cancel  context.CancelFunc
	// left tells that it was us who ended the stream.
	left atomic.Bool
	// heard tells that something was received. It belongs to who receives.
	heard bool
}

func (st *stream) RecvMsg(m any) error {
	err := st.ClientStream.RecvMsg(m)
	if err != nil {
		return st.ended(err)
	}
	if !st.heard {
		st.heard = true
		st.epoch.link.session.permitted()
	}
	return nil
}

// ended releases the stream and gives the error that its user should see.
func (st *stream) ended(err error) error {
	st.cancel()
	if st.left.Load() {
		return errLeft // whatever the server says of a stream that is over: its token may be gone as well
	}
	st.epoch.link.noticeRefusal(err)
	if status.Code(err) == codes.PermissionDenied {
		st.epoch.link.session.denied()
	}
	return st.session.withoutSecrets(err)
}
