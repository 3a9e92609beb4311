// SPDX-License-Identifier: MPL-2.0

// Package certs keeps the admission webhook's certificate: one that it makes and
// rotates itself, shared by all replicas through a Secret ([Rotator]), or one in
// given files that is read again when they change ([Files]).
//
// It owns the authority, the form of the Secret, the CA bundle in the webhook
// configuration, and the choice of the certificate that a handshake gets. It
// does not serve anything and does not elect anybody: every replica may rotate,
// and the API server's optimistic concurrency decides who did.
//
// What always holds for certificates that it makes:
//
//   - A leaf is served only when its authority is in the webhook configuration,
//     and, where another leaf is being replaced, has been there for long enough
//     for every API server to have seen it.
//   - An authority leaves the bundle only when no leaf of it is valid any more,
//     so that it does not matter which replica still serves which leaf.
//   - The webhook configuration is read before the Secret and written with its
//     resource version, so that a slow replica never puts an older bundle over a
//     newer one.
//   - Private keys are in the Secret and in memory, nowhere else.
package certs
