// SPDX-License-Identifier: MPL-2.0

// Package mesh puts up a small service mesh around a real Consul server:
// applications, their registrations, and for each a real podplane process with
// its Envoy. The integration tests, the demo and the benchmark share it.
//
// It owns the pods it starts and their ports, and asks questions of them as
// users would: over the upstream listeners, the lifecycle port, the admin port.
// It does not own the Consul cluster (package consultest) and judges nothing:
// callers compare what they asked with what they expected.
//
// What always holds: no pod outlives Mesh.Close, nor the process that started
// it.
package mesh
