// SPDX-License-Identifier: MPL-2.0

// Package dataplane composes the sidecar from its parts and gives them one
// lifetime.
//
// It owns the order of start and stop, the translation of the settings into
// what each part takes, the tasks that readiness waits for, what /status shows,
// and the exit code. It does not own any of the work: no HTTP handler, no
// process, no stream.
//
// What always holds:
//
//   - New binds every listener, so an address that is taken ends the program
//     before anything has started.
//   - Envoy is started only when there is a session with Consul and a bootstrap,
//     and everything that Envoy talks to is served before and after it.
//   - The first part to end, for whatever reason, ends all; all are awaited.
//   - A signal begins a drain. It does not cancel the context of any part:
//     Consul, xDS and metrics outlive Envoy.
package dataplane
