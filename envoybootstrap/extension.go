// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

// extension is the name and typed_config pair by which Envoy's API refers to what may be extended: filters, access
// loggers, sinks, transport sockets. TypedConfig must encode to an object with an "@type".
type extension struct {
	Name        string `json:"name"`
	TypedConfig any    `json:"typed_config"`
}

// emptyConfig is an extension's configuration that sets nothing.
type emptyConfig struct {
	Type string `json:"@type"`
}

// typeURL is the value of "@type" for a message.
func typeURL(message string) string { return "type.googleapis.com/" + message }

// empty encodes as {}; proto3 JSON tells a set but empty message by it.
type empty struct{}
