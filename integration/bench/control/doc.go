// SPDX-License-Identifier: MPL-2.0

// Package control lets the benchmark steer the programs that it measures with:
// its Consul server, its Envoy, its application. They are processes of their own
// and each holds one connection to the benchmark, over a Unix socket.
//
// It owns the form of what is said, JSON documents one after the other, and the
// clock by which times of several processes are compared. It does not know what
// the commands mean, and starts no process.
//
// What always holds: a program ends its [Serve] when the benchmark hangs up, so
// none outlives it. One command is under way at a time. No goroutine is left once
// [Listener.Close] has returned.
package control
