// SPDX-License-Identifier: MPL-2.0

// Package envoybootstrap renders the bootstrap configuration that Envoy starts with.
//
// It owns the translation of what podplane was told ([Config]) and of what Consul knows about the proxy ([Params]) into
// the JSON form of envoy.config.bootstrap.v3.Bootstrap, the meaning of the proxy-config keys that act on the bootstrap
// (envoy_statsd_url, envoy_extra_static_clusters_json and their kin), and the names of what it puts into Envoy.
//
// It does not fetch parameters, touch files, look at the process's environment, open sockets or start Envoy: every
// function is pure, and what comes from outside arrives as an argument.
//
// What always holds:
//
//   - Values are JSON-encoded, never spliced. Whatever a value contains, the result is one JSON object, or an error.
//   - Operators' fragments are carried as raw JSON after a check of their shape. Their content is Envoy's to judge, since
//     they may use extensions that are unknown here. envoy_bootstrap_json_tpl is the only text that decides structure.
//   - An error caused by a proxy-config key names the key, and all such errors are reported at once.
//   - Everything that is not an operator's fragment is valid under the rules of Envoy's protos.
//   - With the central configuration switched off no proxy-config key has an effect.
//   - The result may hold a secret ([XDS.Secret]); it must not be logged or passed on a command line.
package envoybootstrap
