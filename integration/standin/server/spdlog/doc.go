// SPDX-License-Identifier: MPL-2.0

// Package spdlog writes log lines in the form of Envoy's logger.
//
// It owns the --log-format language (spdlog's flags and Envoy's additions) and
// the table of levels by component that /logging shows and changes. Components
// log through hclog; this package is a sink behind it.
//
// What always holds: one record is one write of one line, and a component that
// has no level of its own follows the default.
package spdlog
