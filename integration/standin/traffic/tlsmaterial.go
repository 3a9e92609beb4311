// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// inlineSource is how Envoy's errors and /certs name data that has no path.
const inlineSource = "<inline>"

// readSource returns the bytes of a data source and its name for people.
func readSource(d *corev3.DataSource) (data []byte, source string, err error) {
	switch s := d.GetSpecifier().(type) {
	case *corev3.DataSource_InlineString:
		return []byte(s.InlineString), inlineSource, nil
	case *corev3.DataSource_InlineBytes:
		return s.InlineBytes, inlineSource, nil
	case *corev3.DataSource_Filename:
		data, err = os.ReadFile(s.Filename)
		if err != nil {
			return nil, s.Filename, fmt.Errorf("unable to read file: %s", s.Filename)
		}
		return data, s.Filename, nil
	case *corev3.DataSource_EnvironmentVariable:
		return []byte(os.Getenv(s.EnvironmentVariable)), inlineSource, nil
	default:
		return nil, "", nil
	}
}

// material is the certificates of one TLS context.
type material struct {
	certs  []tls.Certificate
	source string
	chains [][]*x509.Certificate // leaf first, one for each of certs
	verify *verifier             // nil: the peer's certificate is not looked at
}

// leafURIs are the URI names of the first own certificate, for the By= of x-forwarded-client-cert.
func (m *material) leafURIs() []string {
	if len(m.chains) == 0 {
		return nil
	}
	var uris []string
	for _, u := range m.chains[0][0].URIs {
		uris = append(uris, u.String())
	}
	return uris
}

// secretSource finds a static secret by name.
type secretSource func(name string) *tlsv3.Secret

// loadMaterial reads the certificates of a TLS context. Errors are those of Envoy where it has any.
func loadMaterial(c *tlsv3.CommonTlsContext, secrets secretSource) (*material, error) {
	m := &material{source: inlineSource}
	own := c.GetTlsCertificates()
	for _, ref := range c.GetTlsCertificateSdsSecretConfigs() {
		s := secrets(ref.GetName())
		if s.GetTlsCertificate() == nil {
			return nil, envoyError("Unknown static secret: '%s'", ref.GetName())
		}
		own = append(own, s.GetTlsCertificate())
	}
	for _, pair := range own {
		if err := m.addPair(pair); err != nil {
			return nil, err
		}
	}
	validation, err := validationContext(c, secrets)
	if err != nil || validation == nil {
		return m, err
	}
	m.verify, err = newVerifier(validation)
	return m, err
}

func (m *material) addPair(pair *tlsv3.TlsCertificate) error {
	chain, source, err := readSource(pair.GetCertificateChain())
	if err != nil {
		return err
	}
	key, keySource, err := readSource(pair.GetPrivateKey())
	if err != nil {
		return err
	}
	parsed, err := parseCerts(chain)
	if err != nil || len(parsed) == 0 {
		return envoyError("Failed to load certificate chain from %s", source)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return envoyError("Failed to load private key from %s, Cause: %w", keySource, err)
	}
	m.certs, m.chains, m.source = append(m.certs, cert), append(m.chains, parsed), source
	return nil
}

// validationContext picks the one that a context names, in any of the three ways, or nil.
func validationContext(c *tlsv3.CommonTlsContext, secrets secretSource) (*tlsv3.CertificateValidationContext, error) {
	secret := func(ref *tlsv3.SdsSecretConfig) (*tlsv3.CertificateValidationContext, error) {
		s := secrets(ref.GetName())
		if s.GetValidationContext() == nil {
			return nil, envoyError("Unknown static certificate validation context: '%s'", ref.GetName())
		}
		return s.GetValidationContext(), nil
	}
	switch v := c.GetValidationContextType().(type) {
	case *tlsv3.CommonTlsContext_ValidationContext:
		return v.ValidationContext, nil
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
		return secret(v.ValidationContextSdsSecretConfig)
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		dynamic, err := secret(v.CombinedValidationContext.GetValidationContextSdsSecretConfig())
		if err != nil {
			return nil, err
		}
		return mergeValidation(v.CombinedValidationContext.GetDefaultValidationContext(), dynamic), nil
	default:
		return nil, nil
	}
}

// mergeValidation lays the dynamic context over the default one, as Envoy merges the protos: lists are appended.
func mergeValidation(base, over *tlsv3.CertificateValidationContext) *tlsv3.CertificateValidationContext {
	merged := &tlsv3.CertificateValidationContext{
		TrustedCa: base.GetTrustedCa(), TrustChainVerification: base.GetTrustChainVerification(),
		MatchTypedSubjectAltNames: append(base.GetMatchTypedSubjectAltNames(), over.GetMatchTypedSubjectAltNames()...),
	}
	if over.GetTrustedCa() != nil {
		merged.TrustedCa = over.GetTrustedCa()
	}
	if over.GetTrustChainVerification() != 0 {
		merged.TrustChainVerification = over.GetTrustChainVerification()
	}
	return merged
}

// parseCerts reads every certificate of a PEM text.
func parseCerts(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in PEM data")
	}
	return certs, nil
}
