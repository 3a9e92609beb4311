// SPDX-License-Identifier: MPL-2.0

// Package registrar puts the injected pods of a Kubernetes cluster into Consul's catalog, keeps their readiness there,
// and takes them out again.
//
// It owns what is registered for a pod, when, and what may be removed. It does not own what a pod asks for (meshpod), the
// client of Consul (the caller's), nor who leads (the manager it is added to).
//
// Pods and Services are watched. A pod is reconciled when something about it changes: what it asks for is compared with
// what this process knows of the catalog, which was read once for each node and is kept by what is written. The sweep
// reads the catalog anew, at the start and from time to time, and has all pods reconciled, also those that are only in
// the catalog.
//
// What always holds:
//
//   - Only differences are written. Without a change, also after a restart, nothing is.
//   - Nothing is removed but what carries this cluster's name and [ManagedBy] in its meta, and belongs to a pod that the
//     API server reported gone, or confirms to be. A cache that is behind, or an API server that does not answer, removes
//     nothing. Each removal compares with what was read: what was registered anew in between stays.
//   - A pod is its UID. A new pod of the same name takes over the instance, and the end of the old one does not touch it.
//   - Whatever fails is tried again, at most ten seconds later, for as long as it takes.
//   - A pod that was told to end is critical at once, and stays registered until it has ended.
package registrar
