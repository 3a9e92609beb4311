// SPDX-License-Identifier: MPL-2.0

// Package dnsproxy answers DNS questions of the pod with what the Consul servers
// know, and, where recursors are set, questions about other names with what
// those know.
//
// It owns a UDP socket and a TCP listener of one port, the queries under way, a
// cache, and the way to the recursors. It does not own the connection to the
// servers nor the token: every query goes over the connection of the moment.
// It takes no part in the answers: a name, a TTL or an order is Consul's affair.
//
// What always holds:
//
//   - A server's answer reaches the client as it is, byte for byte. Changed
//     are the ID, where equal questions share an answer; the TTLs, where the
//     answer was kept; and an answer that is larger than the client can take
//     over UDP, which is cut down to its question, with TC set.
//   - Every query gets an answer, at the latest when Config.Timeout is over.
//     What is a response already, or too short to have an ID, is no query.
//     One that waits takes no goroutine, and equal ones share one call.
//   - Queries under way, connections, and kept answers are all bounded.
//   - When Run has returned, nothing that it started is left running. It
//     returns within a second after its context is done.
//
// Messages are handled in their wire form, of which wire.go reads the little
// that matters: a DNS library would decode all record types only to encode them
// again, not always to the same bytes, and would be the largest single
// dependency of the sidecar (0.6 to 0.8 MB).
package dnsproxy
