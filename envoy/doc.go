// SPDX-License-Identifier: MPL-2.0

// Package envoy runs Envoy as a child process and speaks to its admin API.
//
// It owns the command line, the hand-over of the bootstrap, the process and its restarts ([Supervisor]), a client for
// the admin endpoints ([Admin]) and the reaping of orphans when podplane is PID 1 ([Reaper]).
//
// It does not know what is in the bootstrap, where it came from, when the pod should drain, or anything about Consul.
//
// What always holds:
//
//   - The bootstrap is never in argv or in a file that has a name once Envoy runs.
//   - Envoy never outlives podplane. It is in a process group of its own and carries a parent-death signal, so even a
//     SIGKILL of podplane ends it. A group is always killed while its dead leader is still unreaped, so the group's
//     number cannot have been given to somebody else.
//   - [Supervisor.PID] never lags behind: whoever sees a connection from Envoy and then asks for the PID gets the PID of
//     the Envoy that made the connection, or of a later one.
//   - An exit that nobody asked for is a crash, whatever its status.
//   - Every call of the admin API has a deadline, its status is checked, and its answer is bounded or streamed.
package envoy
