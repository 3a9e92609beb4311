// SPDX-License-Identifier: MPL-2.0

// Package consultest runs real Consul servers for tests, the demo and the benchmark.
//
// It owns the server processes (one, or three on 127.0.0.1 to 127.0.0.3 with the same ports), their data
// folders, and the certificates, tokens and signing keys that a run needs, all made for that run. Beside
// it has a small HTTP client that registers mesh services the way consul-k8s does: in the catalog, on a
// synthetic node, with no agent.
//
// It does not build the Consul binary (see package servers) and knows nothing of Podplane.
//
// What always holds: a [Cluster] that [Start] returns has elected a leader, has its mesh CA, and resolves
// its own tokens on each server. No server process outlives [Cluster.Close] or the process that started it.
package consultest
