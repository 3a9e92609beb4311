// SPDX-License-Identifier: MPL-2.0

// Package kube tests podplane and podplane-injector in Kubernetes: a real control plane (package kubetest), pods that run
// (package kubelet), a real Consul with ACLs, and the manifests of deploy/kubernetes as they are.
//
// There is one of each for all tests of the package; tests use namespaces of their own. Everything is in a network
// namespace, which needs root; without it the tests are skipped, and say so.
package kube
