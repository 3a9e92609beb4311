// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// backdate is how far in the past certificates begin, for API servers whose
// clock is behind.
const backdate = 5 * time.Minute

// PEM block types.
const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes a self-signed CA that may sign leaves only.
func newAuthority(now time.Time, ttl time.Duration) (pair, error) {
	return sign(&x509.Certificate{
		// Each authority has a name of its own: chains are built by name.
		Subject:               pkix.Name{CommonName: "podplane-injector CA " + hex.EncodeToString(randomBytes(4))},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(ttl),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil)
}

// newLeaf makes a server certificate for the names, which are of DNS or IP
// addresses. It ends with its authority, if not before.
func newLeaf(issuer pair, names []string, now time.Time, ttl time.Duration) (pair, error) {
	end := now.Add(ttl)
	if end.After(issuer.cert.NotAfter) {
		end = issuer.cert.NotAfter
	}
	var dns []string
	var ips []net.IP
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			ips = append(ips, ip)
		} else {
			dns = append(dns, name)
		}
	}
	leaf, err := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: names[0]},
		DNSNames:              dns,
		IPAddresses:           ips,
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &issuer)
	if err == nil && !leaf.signed(issuer, names) {
		// To try again would change nothing.
		return pair{}, fmt.Errorf("no certificate can be valid for all of %q", names)
	}
	return leaf, err
}

// allNames are those that a certificate is for.
func (p pair) allNames() []string {
	out := slices.Clone(p.cert.DNSNames)
	for _, ip := range p.cert.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

// sign completes a template with a new key and a serial number. Without an
// issuer it is self-signed.
func sign(template *x509.Certificate, issuer *pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("make key: %w", err)
	}
	template.SerialNumber = new(big.Int).SetBytes(randomBytes(16))
	parent, parentKey := template, key
	if issuer != nil {
		parent, parentKey = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return pair{}, fmt.Errorf("sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, fmt.Errorf("read own certificate: %w", err)
	}
	return pair{cert: cert, key: key}, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return b
}

// signed tells whether p is signed by the authority and valid for all names.
func (p pair) signed(by pair, names []string) bool {
	if p.cert == nil || by.cert == nil || p.cert.CheckSignatureFrom(by.cert) != nil {
		return false
	}
	for _, name := range names {
		if p.cert.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// ended tells whether p is absent or not valid any more.
func (p pair) ended(now time.Time) bool { return p.cert == nil || !now.Before(p.cert.NotAfter) }

// tls is the form that a handshake takes.
func (p pair) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key, Leaf: p.cert}
}

// encode gives the PEM forms of certificate and key; both are empty for no pair.
func (p pair) encode() (cert, key []byte, err error) {
	if p.cert == nil {
		return nil, nil, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	return encodeCerts(p.cert), pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der}), nil
}

// decodePair is the opposite of encode. Errors say nothing of the content.
func decodePair(cert, key []byte) (pair, error) {
	if len(cert) == 0 && len(key) == 0 {
		return pair{}, nil
	}
	certs := decodeCerts(cert)
	if len(certs) != 1 {
		return pair{}, errors.New("does not hold exactly one certificate")
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return pair{}, errors.New("the key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return pair{}, errors.New("the key is not in PKCS #8 form")
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(certs[0].PublicKey) {
		return pair{}, errors.New("the key is not that of the certificate")
	}
	return pair{cert: certs[0], key: private}, nil
}

func encodeCerts(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: cert.Raw})...)
	}
	return out
}

// decodeCerts reads the certificates of a PEM file and skips everything else.
func decodeCerts(data []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out
		}
		if block.Type != blockCertificate {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, cert)
		}
	}
}
