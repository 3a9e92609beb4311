// SPDX-License-Identifier: MPL-2.0

// Package downstream serves one method of gRPC, a stream of messages in both
// directions, to a client on the same machine: Envoy.
//
// It owns the connections that it is handed by a listener, HTTP/2 on them, and
// the form of gRPC in that. HTTP/2's frames and header blocks are read and written
// by golang.org/x/net/http2, which grpc-go uses for them, too; what grpc-go has
// around that is for any number of streams and methods, and hands each message
// from one goroutine to the next. Here a message is handed over by whoever reads
// the connection, and is written by whoever sends it if it is large.
//
// It does not own the listener's address, who may connect, or what is in a
// message.
//
// What always holds:
//
//   - Messages of a stream arrive one at a time and in order, and are sent in the
//     order of the calls of Send.
//   - Reading never waits for a write, so a client that does not read cannot keep
//     what it says from being heard. It can only lose its connection.
//   - Send waits while the client does not read, by HTTP/2's flow control and by
//     the socket's. Of what is sent, two buffers wait here at most, each of maxWaiting
//     and one small message; of answers to what the client says, maxUnread.
//   - A large message is sent from where it lies, without a copy.
//   - What a client sends is bounded: headers, streams, the size of a message, what
//     waits to be answered, and the time until a first stream is accepted.
//   - A stream's end is told once: by its context.
//   - When Serve has returned, nothing that it started is left running.
//
// The protocols are https://www.rfc-editor.org/rfc/rfc9113 and
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
package downstream
