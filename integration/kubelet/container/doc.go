// SPDX-License-Identifier: MPL-2.0

// Package container turns a process into a container: the namespaces, file system, user and capabilities that
// Kubernetes promises to a pod's program.
//
// It is what program box does between its start and the exec of the container's program. It starts nothing and waits for
// nothing; package kubelet does. It holds no image: a root file system is a fresh tmpfs with what the spec mounts.
//
// What always holds: a program that is executed here sees no file, process or socket of the machine but those that its
// spec names. There is no seccomp filter.
package container
