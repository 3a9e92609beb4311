// SPDX-License-Identifier: MPL-2.0

// Package docs tests the documentation: it runs the commands in it, as they are written, and compares what it says with
// what the program says.
//
// It owns how a page says which of its commands are run, and where. A block of shell commands has comments beside it,
// which readers do not see. Before it:
//
//	<!-- run: SCENARIO -->   run it; what surrounds it is in scenarios_test.go
//	<!-- serves: URL -->     it goes on until it is ended: once URL answers 200, it is, and then its exit code counts
//	<!-- prints: TEXT -->    its output has this text; may be given several times
//
// Or after it:
//
//	<!-- not run: REASON -->
//
// What always holds: a block has one or the other, and one with a placeholder is not run. Every line of a block counts,
// not only the last one. Commands run in a network and a mount namespace of their own, with a copy of the tree, so that
// ports and paths are those of the text and nothing of the machine changes; that takes root, and without it only what
// needs no commands is tested.
package docs
