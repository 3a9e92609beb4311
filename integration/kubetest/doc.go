// SPDX-License-Identifier: MPL-2.0

// Package kubetest runs a real Kubernetes control plane for tests: etcd, kube-apiserver and kube-controller-manager.
//
// It owns the three processes, their files and ports, and the ways to speak to the API server as administrator or as a
// ServiceAccount. There is no scheduler and no kubelet: package kubelet plays them. Who calls names the objects.
//
// What always holds: everything listens on loopback, behind TLS and RBAC but for etcd, which is on a port that nobody is
// told. Nothing outlives [Cluster.Close], nor the process that started it. The end of the API server is awaited before
// etcd's is asked for: it would spend a minute looking for it.
package kubetest
