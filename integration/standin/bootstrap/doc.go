// SPDX-License-Identifier: MPL-2.0

// Package bootstrap reads Envoy's bootstrap configuration as strictly as Envoy does.
//
// It owns where a configuration may come from (a file, /dev/fd, the command
// line), its formats (JSON, YAML), strict parsing and the constraints that the
// protos carry. It does not check what only the server can know, such as whether
// a filter exists or a port is free.
//
// What always holds: a returned bootstrap has no unknown field, every Any in it
// names a known type, and it has passed ValidateAll.
package bootstrap
