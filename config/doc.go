// SPDX-License-Identifier: MPL-2.0

// Package config turns a command line, an environment and a JSON file into one
// checked [Config].
//
// It owns the table of settings ([Settings]). A row holds everything there is to
// know about one setting: its flag, environment variable, JSON key, default,
// help, limits and the field of Config that it fills. Flag parsing, the
// environment, the file, defaults, validation, -help and the settings tables of
// the documentation are all derived from that table, so none of them can
// disagree with another.
//
// It does not act on anything: it opens no socket, starts nothing and logs
// nothing. The only files it reads are the one named by -config-file and the
// proxy ID file. What is worth a log line but no refusal is in
// [Config.Warnings], for the caller to log.
//
// What always holds:
//
//   - The precedence is flag, then environment, then file, then default. An empty
//     environment variable counts as unset.
//   - Load reports every problem it finds, in one [*Error], and a Config that Load
//     returned without an error needs no further checking.
//   - A value of type [Secret] is never part of an error, a warning or any
//     formatted form of a Config.
package config
