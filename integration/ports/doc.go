// SPDX-License-Identifier: MPL-2.0

// Package ports finds free ports for programs that bind by themselves and cannot
// take port 0, such as Consul servers and Envoy's listeners.
//
// It owns the choice of the ports and who may have them. It binds none of them.
//
// What always holds: two blocks never share a port, be they of one process or of
// several, for as long as both use this package. Ports come from below the
// kernel's ephemeral range, so that no outgoing connection can take one between
// the look and the bind.
package ports
