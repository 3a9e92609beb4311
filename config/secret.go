// SPDX-License-Identifier: MPL-2.0

package config

import (
	"encoding/json"
	"fmt"
	"io"
)

const redacted = "<redacted>"

// Secret is a text that must not be shown: an ACL or bearer token. Every verb of
// fmt, JSON encoding and hclog see a placeholder, or nothing if it is empty.
type Secret string

// Reveal returns the text itself. Call it where the secret is used, not earlier.
func (s Secret) Reveal() string { return string(s) }

// String returns a placeholder, or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format implements [fmt.Formatter]. String alone would not do: verbs such as %x
// and %#v bypass it.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalJSON encodes the placeholder.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText encodes the placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
