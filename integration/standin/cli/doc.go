// SPDX-License-Identifier: MPL-2.0

// Package cli reads Envoy's command line for the stand-in.
//
// It owns the table of Envoy's options, their spellings, defaults and the texts
// with which Envoy (through TCLAP) refuses a bad command line. It does not act
// on any option: that is the server's work.
//
// What always holds: an option that Envoy does not know, one given twice, one
// without its value and one whose value Envoy could not read are errors, and
// [Parse] never reports a partly read command line.
//
// Source of names and defaults:
// https://www.envoyproxy.io/docs/envoy/latest/operations/cli
package cli
