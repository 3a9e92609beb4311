// SPDX-License-Identifier: MPL-2.0

// Package consulhttp gives a client of the Consul servers' HTTP API that finds
// the servers and keeps its token.
//
// It owns the choice of the server, TLS, and the ACL token: a given one, one in a
// file, or one that a login gives. It does not know what is asked for; nothing
// runs in the background.
//
// What always holds:
//
//   - A request is sent to one server. Another one is tried only when no
//     connection came about, so that nothing is carried out twice.
//   - A token that expires soon, or that the servers do not know any more, is
//     replaced before the next request.
//   - No token is part of an error or a log line.
package consulhttp
