// SPDX-License-Identifier: MPL-2.0

// Package webhook serves admission reviews to the API servers over TLS.
//
// It owns the listener, the form of an AdmissionReview, what bounds a request
// (size, time, how many at once), and what becomes of a decision that panics. It
// does not decide: a [Mutator] does. It does not know where the certificate
// comes from.
//
// What always holds:
//
//   - A review is answered with its own UID, and never with a patch together with
//     a refusal.
//   - A panic while deciding refuses that one pod and nothing else.
//   - Work and memory are bounded, whoever asks, and however often: anybody in
//     the cluster can connect. What is too much is not decided on, and said so. Of
//     connections that are too many, one that is silent is closed.
//   - After the end is asked for, requests are answered as before until the
//     shutdown delay is over, each as the last of its connection, and those under
//     way are finished.
package webhook
