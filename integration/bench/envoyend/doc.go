// SPDX-License-Identifier: MPL-2.0

// Package envoyend is the Envoy of the benchmark: a program that a dataplane
// starts as it would start Envoy, and that measures what reaches it.
//
// It owns Envoy's side of delta ADS, over whatever address and with whatever
// metadata the bootstrap names, and as much of the admin API as a dataplane needs
// to know that Envoy lives and to end it. It has no listeners and no traffic. A
// second stream, straight to a server, is what a proxied one is compared with; it
// runs the same code.
//
// What always holds: it is LIVE when it has had an answer for clusters and for
// listeners, in this order. A stream that is cut is opened again after Envoy's own
// jittered pause, with the versions of what it has. It ends with the benchmark.
package envoyend
