// SPDX-License-Identifier: MPL-2.0

// Package injector decides what becomes of a pod at admission: it is left alone,
// refused, or gets a dataplane for each of its services.
//
// It owns which pods are injected, how the dataplane's container looks, where it
// stands among the pod's containers, and what the pod's own containers are told.
// It does not own the meaning of annotations (package meshpod), the HTTP server
// (injector/webhook) or certificates (injector/certs), and it speaks neither to
// Consul nor to the API server.
//
// What always holds:
//
//   - [Mutate] is a function of its arguments: no clock, no environment, no
//     network. The same pod gives the same patch.
//   - The patch only adds. Nothing of the user's is removed, replaced or
//     moved within its container, and fields that this program does not know
//     stay as they are, because they are never decoded and encoded again.
//   - A pod that is injected is left alone the next time.
//   - No text of an annotation reaches a shell, and none is expanded by the
//     kubelet: $ is doubled in arguments and variables.
package injector
