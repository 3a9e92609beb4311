// SPDX-License-Identifier: MPL-2.0

// Package xdsproxy carries Envoy's delta ADS stream to the Consul servers.
//
// It owns the local listener on which Envoy asks for its configuration, the
// decision who may ask, the pump between the two streams, and what is needed
// to outlive a server: the ledger of what Envoy subscribed to and accepted, and
// the last-known-good copy of it, which a Store may keep beyond the process.
//
// It does not own HTTP/2 and gRPC on the connections to Envoy (package
// downstream does), the connection to the servers (a grpc.ClientConnInterface is
// handed in, and may lead to another server with every new stream), nor the
// Envoy process, and it never decodes a resource: of the delta messages only
// the envelope is read — type URL, names, versions and nonces — and resource
// bodies pass through as the bytes that the server sent.
//
// What always holds:
//
//   - Envoy's stream stays open while servers come and go. On every new
//     upstream stream the subscriptions are sent once more, with the versions
//     that Envoy has accepted (initial_resource_versions), so that only what
//     changed crosses the wire.
//   - Within a resource type, messages keep their order in both directions.
//   - A nonce that Envoy sees names the upstream stream it came from, so an
//     answer never reaches a server that did not ask for it.
//   - Reading from Envoy never waits for a server, and reading from a server
//     waits only for Envoy (that is the flow control), so neither side can
//     block the other for good.
//   - A server that was asked on a new stream and does not answer is left for
//     another one, with more patience each time, so that nothing storms where
//     all of them are silent.
//   - One Envoy stream is served at a time; a newer one replaces the older.
//
// The protocol is described at
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol.
package xdsproxy
