// SPDX-License-Identifier: MPL-2.0

// Package traffic is the data path of the Envoy stand-in: listeners, filters, routes, clusters and the connections
// between them, configured by Envoy's own protos.
//
// It owns every socket that carries a user's traffic, the validation of resources, warming, load balancing, TLS,
// draining, and the statistics of all that. It does not own the ADS stream, the order of updates, ACK and NACK, the
// admin endpoint or the process: those decide, and tell the Engine.
//
// What always holds:
//   - An Update either applies as a whole or returns an error and changes nothing; the error is fit for a NACK.
//   - It never does what Envoy would not. A resource, extension or field that it does not implement is refused by name,
//     never ignored in silence; a field that is accepted without effect is listed as such in fields.go, with the reason.
//   - Filters that Envoy would run and this package cannot (Lua, Wasm, ext_authz, jwt_authn) are accepted, but no
//     traffic passes a chain that has them.
//   - Every goroutine belongs to the Engine and has ended when Close returns.
package traffic
