// SPDX-License-Identifier: MPL-2.0

// Package companion composes podplane-injector from its parts and gives them one
// lifetime: the webhook with its certificate, the registrar under leader
// election, metrics and probes.
//
// It owns the order of start and stop, the translation of the settings into what
// each part takes, what readiness waits for, and the exit code. It does not own
// any of the work.
//
// What always holds:
//
//   - Every replica serves the webhook; one of them registers pods.
//   - The webhook does not depend on Consul, nor on who leads. Without an API
//     server, parts wait and try again; nothing ends for it but the leader, who
//     must not act without the lease.
//   - At the end, readiness fails first, the webhook goes on until nobody is sent
//     to it, and the probes are answered until then.
package companion
