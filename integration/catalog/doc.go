// SPDX-License-Identifier: MPL-2.0

// Package catalog tests what the companion does in a real Consul: the ACLs that it makes, and the catalog that it keeps for
// the pods of a real API server, without a kubelet.
//
// It is a package of its own so that these servers, and hundreds of pods, do not share the cores with tests that measure.
package catalog
