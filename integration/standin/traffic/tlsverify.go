// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"podplane/integration/standin/strmatch"
)

// Why a peer's certificate was refused; each has a counter of its own in Envoy.
var (
	errUntrusted = errors.New("CERTIFICATE_VERIFY_FAILED")
	errWrongSAN  = errors.New("verify SAN list")
)

// verifier checks a peer's certificate chain against a validation context.
type verifier struct {
	cas             []*x509.Certificate
	pool            *x509.CertPool
	acceptUntrusted bool
	sans            []sanMatch // any of them is enough; none means any name
}

type sanMatch struct {
	kind  tlsv3.SubjectAltNameMatcher_SanType
	match strmatch.Func
}

func newVerifier(v *tlsv3.CertificateValidationContext) (*verifier, error) {
	out := &verifier{
		acceptUntrusted: v.GetTrustChainVerification() == tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED,
	}
	if v.GetTrustedCa() != nil {
		text, source, err := readSource(v.GetTrustedCa())
		if err != nil {
			return nil, err
		}
		if out.cas, err = parseCerts(text); err != nil {
			return nil, envoyError("Failed to load trusted CA certificates from %s", source)
		}
		out.pool = x509.NewCertPool()
		for _, ca := range out.cas {
			out.pool.AddCert(ca)
		}
	}
	for _, m := range v.GetMatchTypedSubjectAltNames() {
		match, err := strmatch.New(m.GetMatcher())
		if err != nil {
			return nil, err
		}
		out.sans = append(out.sans, sanMatch{kind: m.GetSanType(), match: match})
	}
	return out, out.addUntyped(v.GetMatchSubjectAltNames()) //nolint:staticcheck // deprecated, and still sent by some
}

// addUntyped takes the deprecated matchers, which apply to a name of any kind.
func (v *verifier) addUntyped(matchers []*matcherv3.StringMatcher) error {
	for _, m := range matchers {
		match, err := strmatch.New(m)
		if err != nil {
			return err
		}
		v.sans = append(v.sans, sanMatch{kind: tlsv3.SubjectAltNameMatcher_SAN_TYPE_UNSPECIFIED, match: match})
	}
	if len(v.sans) > 0 && v.pool == nil && !v.acceptUntrusted {
		return errors.New("SAN-based verification of peer certificates without trusted CA is insecure and not allowed")
	}
	return nil
}

// verify checks a chain, leaf first. Anything in trusted_ca is an anchor, be it self-signed or not.
func (v *verifier) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if v.pool != nil && !v.acceptUntrusted {
		intermediates := x509.NewCertPool()
		for _, c := range chain[1:] {
			intermediates.AddCert(c)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{
			Roots: v.pool, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage},
		})
		if err != nil {
			return fmt.Errorf("%w: %w", errUntrusted, err)
		}
	}
	if len(v.sans) == 0 {
		return nil
	}
	for _, m := range v.sans {
		if slices.ContainsFunc(sanNames(chain[0], m.kind), m.match) {
			return nil
		}
	}
	return fmt.Errorf("%w: none of %q is allowed", errWrongSAN, sanNames(chain[0], tlsv3.SubjectAltNameMatcher_SAN_TYPE_UNSPECIFIED))
}

// sanNames are a certificate's alternative names of one kind, or of all.
func sanNames(c *x509.Certificate, kind tlsv3.SubjectAltNameMatcher_SanType) []string {
	var names []string
	all := kind == tlsv3.SubjectAltNameMatcher_SAN_TYPE_UNSPECIFIED
	if all || kind == tlsv3.SubjectAltNameMatcher_URI {
		for _, u := range c.URIs {
			names = append(names, u.String())
		}
	}
	if all || kind == tlsv3.SubjectAltNameMatcher_DNS {
		names = append(names, c.DNSNames...)
	}
	if all || kind == tlsv3.SubjectAltNameMatcher_EMAIL {
		names = append(names, c.EmailAddresses...)
	}
	if all || kind == tlsv3.SubjectAltNameMatcher_IP_ADDRESS {
		for _, ip := range c.IPAddresses {
			names = append(names, ip.String())
		}
	}
	return names
}
