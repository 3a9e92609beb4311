// SPDX-License-Identifier: MPL-2.0

// Package lifecycle decides when the pod's proxy is ready, when it drains, and when it ends.
//
// It owns the shutdown as one state machine for HTTP and signals ([Drainer]), the named tasks that readiness waits for
// ([Readiness]), and the HTTP server of the pod's lifecycle endpoints ([Server]).
//
// It does not start processes or know Envoy's admin API: what it needs of the proxy is the interface [Proxy].
//
// What always holds:
//
//   - There is one shutdown. Whoever asks again joins it; a later request can only bring its end forward.
//   - The states follow each other: running, draining, stopping, stopped; none is left backwards.
//   - Every wait has a deadline. The proxy is gone at most the stop timeout after the end of the grace period.
//   - An HTTP answer never waits for the shutdown unless its client asked for that, and then within a bound.
//   - Nothing that is served is secret.
package lifecycle
