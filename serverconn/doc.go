// SPDX-License-Identifier: MPL-2.0

// Package serverconn keeps a session with the Consul servers.
//
// It owns discovery of servers, the connection to one of them, the ACL token
// (static, from a file, or by login at an auth method), and the files behind
// all that. It survives the loss of servers and tokens and the change of files,
// and gives its users one connection, Conn, that outlives them all.
//
// It does not own what is said over that connection, but for one question:
// BootstrapParams. Retrying streams is up to those who open them.
//
// What always holds:
//
//   - A request carries the token of the moment and no other, whatever
//     metadata the caller brings.
//   - A new token or TLS setting is proven at a server before the old one is
//     given up; a file that does not load changes nothing.
//   - A token obtained by login is logged out when it is replaced and when Run
//     ends, as far as a server can be reached.
//   - No secret is logged or shown by Status or in errors.
//   - When Run has returned, nothing that the session started is left running.
//
// Underneath works consul-server-connection-manager: one Watcher for each pair
// of token and TLS setting, because a Watcher takes both once. The package
// calls that pair with its Watcher a link, and the time that one server is used
// over one link an epoch.
package serverconn
