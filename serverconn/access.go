// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"crypto/tls"
	"net"
)

// Access is what it takes to speak to the server in use past the session, which
// is over gRPC: with its HTTP API. It is good for one request, as the next one
// may be another server's.
type Access struct {
	// Host is the server's address without a port.
	Host string
	// Token is the ACL token in use; empty is none. It must not be shown.
	Token string
	// TLS secures the connection as the session's own; nil is plain text. It is the
	// caller's copy.
	TLS *tls.Config
	// Epoch is that of [Status].
	Epoch uint64
}

// Access gives the server of the moment with the token of the moment. While there
// is no server, the error says so.
func (s *Session) Access() (Access, error) {
	e, err := s.usable()
	if err != nil {
		return Access{}, err
	}
	host, _, err := net.SplitHostPort(e.server)
	if err != nil {
		return Access{}, err
	}
	return Access{Host: host, Token: e.token, TLS: e.link.security.config.Clone(), Epoch: e.id}, nil
}

// Redact cuts the secrets that the session knows out of a text, such as the words
// of a server, which may repeat what it was sent.
func (s *Session) Redact(text string) string { return s.redact(text) }
