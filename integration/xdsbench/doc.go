// SPDX-License-Identifier: MPL-2.0

// Package xdsbench measures what the xDS proxy costs: the throughput of a stream
// through it against that of the same stream straight from the server, the
// proxy's CPU time for each megabyte, its memory, and the latency that it adds.
//
// Server, proxy and client are processes of their own, because a proxy that
// shares a process with its peers shares their memory and their garbage
// collector. All three are this package's test binary, which plays the part that
// its first argument names. The server pushes responses without waiting for the
// answers, the client answers each as Envoy does.
package xdsbench
