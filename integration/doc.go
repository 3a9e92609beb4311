// SPDX-License-Identifier: MPL-2.0

// Package integration tests podplane as its users run it: the real program
// against real Consul servers and a real Envoy, or the stand-in where there is
// none; every run says which. The packages below it are what the tests stand on.
package integration
