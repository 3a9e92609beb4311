// SPDX-License-Identifier: MPL-2.0

// Package envoybin finds the Envoy that tests, demo and benchmark run: a real one where there is one,
// else the stand-in from integration/standin, which it builds.
//
// It owns the choice and its announcement, so that no report can leave open which of the two was used.
// It does not start anything.
package envoybin
