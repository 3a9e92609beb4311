// SPDX-License-Identifier: MPL-2.0

// Package kubelet plays a node of a Kubernetes cluster: it binds pods, runs them as a kubelet and a container runtime do,
// and forwards Services' ClusterIPs as kube-proxy does.
//
// It owns one Node object, the processes of the pods that are bound to it, their network namespaces, volumes and status.
// A container is a process in namespaces of its own with a file system of what its image and its volumes hold, the user
// and capabilities that its security context names, and the environment that Kubernetes promises it. An image is a list
// of programs of this machine, see [Image]. The order of starts and ends is that of
// https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and …/sidecar-containers/.
//
// What it does not do: seccomp, cgroups and limits, gRPC probes, ephemeral containers, volumes that outlive their pod, and
// the renewal of projected tokens. A pod that needs one of what it cannot give fails with a message.
//
// What always holds: no process of a pod outlives its pod, [Kubelet.Run], or the program. A pod's status says what its
// processes do, never what they are expected to.
package kubelet
