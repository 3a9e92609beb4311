// SPDX-License-Identifier: MPL-2.0

// Package server puts the Envoy stand-in together: command line, bootstrap, data
// path, ADS client and admin endpoint, in the order and with the states of
// Envoy.
//
// It owns the process's state (PRE_INITIALIZING, INITIALIZING, LIVE, DRAINING),
// the order of initialisation, the record of which configuration is in force,
// and the exit code. It does not own any socket of the data path.
//
// What always holds: whatever ends [Server.Run] — a signal, /quitquitquit, a
// failure of the admin endpoint — every goroutine and socket is gone when it
// returns. The state never goes back from LIVE but to DRAINING and again to LIVE
// by /healthcheck.
//
// Source of the order: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/init
package server
