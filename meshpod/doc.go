// SPDX-License-Identifier: MPL-2.0

// Package meshpod is what a pod asks of the mesh: its annotations, read and
// checked once, for the webhook that puts the dataplane into the pod and for the
// registrar that puts the pod into Consul's catalog.
//
// It owns the names of annotations and labels, their values' syntax, the ports
// and the IDs that follow from a service's index, and the Consul namespace that
// follows from a Kubernetes namespace. It does not decide whether a pod is
// injected, changes no pod, and knows no Consul.
//
// What always holds:
//
//   - Parse of the same annotations gives the same Pod, before and after
//     injection, and whether or not the pod has a name yet.
//   - Nothing is guessed: a value that is not what it must be is an error that
//     names the annotation, the value and what is allowed, and all errors are
//     reported at once.
//   - IDs are deterministic. The form [IDNamespaced] is
//     <namespace>.<pod>-<index>: no namespace has a dot and no index a dash, so
//     two services never share an ID. It holds the index and not the name of the
//     service, because the sidecar must know its ID at admission, while the name
//     may come from a Kubernetes Service, which is known, and may change, only
//     afterwards. The form [IDCompat] is that of consul-k8s, <pod>-<service>,
//     which needs the name at admission.
package meshpod
