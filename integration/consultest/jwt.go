// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// AuthMethod is the name of the auth method of a cluster with [Options.JWT].
const AuthMethod = "consultest-jwt"

// The claims that the auth method demands.
const (
	jwtIssuer   = "consultest"
	jwtAudience = "consul"
	// jwtServiceClaim names the service; the binding rule turns it into a service identity.
	jwtServiceClaim = "service"
)

var errNoJWT = errors.New("the cluster has no jwt auth method")

// issuer signs bearer tokens, in the place of Kubernetes.
type issuer struct {
	key *ecdsa.PrivateKey
}

func newIssuer() (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make JWT key: %w", err)
	}
	return &issuer{key: key}, nil
}

// Bearer mints a bearer token with which the holder logs in through [AuthMethod] as a service and is
// bound to its service identity. ttl is the bearer token's life, not that of the ACL token; a negative
// one makes a token that has expired.
func (c *Cluster) Bearer(service string, ttl time.Duration) (string, error) {
	if c.jwt == nil {
		return "", errNoJWT
	}
	return c.jwt.sign(map[string]any{
		"iss": jwtIssuer, "aud": jwtAudience, "sub": service, jwtServiceClaim: service,
		"iat": time.Now().Add(min(0, 2*ttl)).Unix(), "exp": time.Now().Add(ttl).Unix(),
	})
}

// sign makes a JWT with ES256: https://datatracker.ietf.org/doc/html/rfc7518#section-3.4.
func (i *issuer) sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign claims: %w", err)
	}
	const half = 32 // bytes of r and of s on P-256
	signature := make([]byte, 2*half)
	r.FillBytes(signature[:half])
	s.FillBytes(signature[half:])
	return signed + "." + encode(signature), nil
}

// JWTAuthMethod describes an auth method of type jwt with one binding rule, which gives the holder of a
// bearer token the identity of the service that its "service" claim names.
type JWTAuthMethod struct {
	Name      string
	PublicKey []byte        // PEM
	TokenTTL  time.Duration // life of the ACL tokens given out; 0 means that they do not expire
}

// authMethod returns what Start creates; a test can delete and create it again.
func (c *Cluster) authMethod() JWTAuthMethod {
	m := JWTAuthMethod{Name: AuthMethod, TokenTTL: c.opts.TokenTTL}
	if der, err := x509.MarshalPKIXPublicKey(c.jwt.key.Public()); err == nil { // cannot fail for P-256
		m.PublicKey = encodePEM("PUBLIC KEY", der)
	}
	return m
}

// JWTAuthMethod returns the cluster's auth method, for a test that deletes it and creates it again.
func (c *Cluster) JWTAuthMethod() (JWTAuthMethod, error) {
	if c.jwt == nil {
		return JWTAuthMethod{}, errNoJWT
	}
	return c.authMethod(), nil
}
