// SPDX-License-Identifier: MPL-2.0

// Package servers builds the real servers that the integration tests and the demo run against.
//
// Each server has a Go module of its own in a folder below this one (consul/, …), so that its
// dependency tree stays out of the product's go.mod. The package owns the cache folder and the build
// of those modules into it; it does not start anything.
//
// What always holds: a binary is in the cache under its final name only when it is complete, its stamp
// says from what it was made, and two builds of the same server never run at the same time, be they in
// one process or in several.
package servers
