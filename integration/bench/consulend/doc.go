// SPDX-License-Identifier: MPL-2.0

// Package consulend is the Consul server of the benchmark: the gRPC services that
// a dataplane uses, as fast as they can be, with content that the benchmark
// chooses.
//
// It owns the server's side of delta ADS. The clusters and listeners of one proxy
// are a wildcard subscription, and a new stream is sent what differs from the
// versions that it says it has, as Consul does. Names that [Push] and [Echo] give
// measure: to subscribe to one starts a stream of responses. Nothing is checked,
// neither tokens nor who asks, and no resource means anything.
//
// What always holds: responses are not held back for answers. Those of one stream
// leave in the order in which they were made.
package consulend
