// SPDX-License-Identifier: MPL-2.0

// Package selfregister registers a service and its sidecar proxy in Consul's
// catalog, on machines where nobody else does: no orchestrator and no Consul
// agent.
//
// It owns the reading of the service definition, the health checks in it, the
// registration over Consul's HTTP API, what keeps it true (writes on change,
// a repetition each minute, and one at every other server), and its removal at
// the end. It does not own sessions, tokens or TLS files: how to reach a server
// it is told anew for every request. Nor does it decide whether the proxy is
// ready.
//
// What always holds:
//
//   - A file with an unknown key is refused, with the key and its line.
//   - A registration carries the mark of who made it, so that the next start on
//     this machine removes what this one could not, and nothing of others.
//   - The registration is critical before it is passing, and critical again as
//     soon as a drain begins.
//   - Servers that are away are retried for ever, and hold up an end by no more
//     than [EndTimeout].
package selfregister
