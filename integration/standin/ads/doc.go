// SPDX-License-Identifier: MPL-2.0

// Package ads is the stand-in's client of the aggregated discovery service, in
// the incremental (delta) variant.
//
// It owns the stream: connecting and reconnecting, which types and names are
// subscribed, the versions that are held, nonces, ACK and NACK. It does not know
// what a resource means: a [Handler] for each type applies it, and the server
// decides when a type is asked for.
//
// What always holds:
//   - all state of the stream belongs to the goroutine of [Client.Run], which
//     joins the one that it starts for receiving;
//   - every response of a known type is answered by exactly one ACK or NACK with
//     its nonce, after it has been applied, on the stream that brought it;
//   - a version is held only after the response that carried it was accepted;
//   - after a reconnect the types are asked for in the order in which they were
//     first asked for.
//
// Source of the protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
// and, for what Envoy sends exactly, source/extensions/config_subscription/grpc.
package ads
