// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"
)

// errNone is the error of a handshake before there is a certificate.
var errNone = errors.New("there is no certificate yet")

// Store holds the certificate that handshakes get, and whether API servers trust
// it. The zero value is empty. It may be used by several goroutines.
type Store struct {
	current atomic.Pointer[served]
}

type served struct {
	certificate *tls.Certificate
	trusted     bool
}

// GetCertificate is for [tls.Config].
func (s *Store) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if now := s.current.Load(); now != nil {
		return now.certificate, nil
	}
	return nil, errNone
}

// Ready tells why the certificate cannot be used by API servers; nil if it can.
func (s *Store) Ready() error {
	now := s.current.Load()
	switch {
	case now == nil:
		return errNone
	case !time.Now().Before(now.certificate.Leaf.NotAfter):
		return errors.New("the certificate has expired")
	case !now.trusted:
		return errors.New("the authority of the certificate is not in the webhook configuration")
	}
	return nil
}

// set replaces the certificate.
func (s *Store) set(certificate *tls.Certificate, trusted bool) {
	s.current.Store(&served{certificate: certificate, trusted: trusted})
}

// setTrusted keeps the certificate.
func (s *Store) setTrusted(trusted bool) {
	if now := s.current.Load(); now != nil && now.trusted != trusted {
		s.set(now.certificate, trusted)
	}
}

// get is the certificate; nil if there is none.
func (s *Store) get() *tls.Certificate {
	if now := s.current.Load(); now != nil {
		return now.certificate
	}
	return nil
}
