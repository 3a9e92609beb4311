// SPDX-License-Identifier: MPL-2.0

// Package releaseconfig holds a test of .goreleaser.yaml: goreleaser's own reader, which refuses what it does not know, has
// to take it. It is a module of its own, so that goreleaser stays out of the product's go.mod, and needs a small part of
// goreleaser only; building all of it takes too long for every check.
package releaseconfig
