// SPDX-License-Identifier: MPL-2.0

// Package consulacl makes in Consul's ACL system what sidecars and the companion
// need: a policy and a role for the companion, a Kubernetes auth method, and the
// binding rules that say who a ServiceAccount is.
//
// It owns those five objects, found by name or, for rules, by description. It
// does not touch anything else, and gives out no token.
//
// What always holds:
//
//   - A second run writes nothing.
//   - What differs from what is asked for is repaired, and said by name.
package consulacl
