// SPDX-License-Identifier: MPL-2.0

// Package control is the other end of the lifecycle port: what the subcommands
// of podplane do, for images that have neither a shell nor curl.
//
// It owns the client of the lifecycle endpoints ([Client]) and the running of a
// command within the life of the proxy ([Exec]): after it is ready, and with a
// graceful shutdown at the end.
//
// It does not own the endpoints (package lifecycle), their addresses (package
// config), or exit codes other than those of a command.
//
// What always holds:
//
//   - Every request has a deadline, and an answer is bounded.
//   - A command never outlives Exec, and a shutdown that cannot be asked for does
//     not change the command's exit code.
package control
