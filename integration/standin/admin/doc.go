// SPDX-License-Identifier: MPL-2.0

// Package admin is Envoy's admin endpoint for the stand-in.
//
// It owns the HTTP listener, the table of paths, which of them demand POST, and
// the form of every answer. It does not own what it shows or changes: the server
// and the data path are behind small interfaces.
//
// What always holds: a path that changes something answers 405 to anything but
// POST, an unknown path answers 404 with the list of known ones, and no answer
// carries a private key.
//
// Source: https://www.envoyproxy.io/docs/envoy/latest/operations/admin
package admin
