// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"podplane/integration/standin/stats"
)

// tlsContext is a transport socket of type tls, of either side.
type tlsContext struct {
	material *material
	config   *tls.Config
	sni      string // of an upstream
	require  bool   // of a downstream: a client certificate
}

// newDownstreamTLS compiles a filter chain's transport socket; nil means plain text.
func newDownstreamTLS(ts *corev3.TransportSocket, secrets secretSource) (*tlsContext, error) {
	if ts == nil {
		return nil, nil
	}
	m, err := unpack(ts.GetTypedConfig())
	if err != nil {
		return nil, err
	}
	ctx, ok := m.(*tlsv3.DownstreamTlsContext)
	if !ok {
		return nil, unknownExtension(ts.GetName(), ts.GetTypedConfig().GetTypeUrl())
	}
	mat, err := loadMaterial(ctx.GetCommonTlsContext(), secrets)
	if err != nil {
		return nil, err
	}
	if len(mat.certs) == 0 {
		return nil, envoyError("Server TlsCertificates must have a certificate specified")
	}
	cfg, err := baseTLS(ctx.GetCommonTlsContext(), mat, tls.VersionTLS13)
	if err != nil {
		return nil, err
	}
	t := &tlsContext{material: mat, config: cfg, require: ctx.GetRequireClientCertificate().GetValue()}
	switch {
	case t.require:
		cfg.ClientAuth = tls.RequireAnyClientCert
	case mat.verify != nil:
		cfg.ClientAuth = tls.RequestClientCert
	}
	cfg.VerifyPeerCertificate = verifyWith(mat.verify, x509.ExtKeyUsageClientAuth)
	cfg.SessionTicketsDisabled = true // a resumed session would skip the callback above
	cfg.GetConfigForClient = lenientALPN(cfg)
	return t, nil
}

// newUpstreamTLS compiles a cluster's transport socket; nil means plain text.
func newUpstreamTLS(ts *corev3.TransportSocket, secrets secretSource) (*tlsContext, error) {
	if ts == nil {
		return nil, nil
	}
	m, err := unpack(ts.GetTypedConfig())
	if err != nil {
		return nil, err
	}
	ctx, ok := m.(*tlsv3.UpstreamTlsContext)
	if !ok {
		return nil, unknownExtension(ts.GetName(), ts.GetTypedConfig().GetTypeUrl())
	}
	mat, err := loadMaterial(ctx.GetCommonTlsContext(), secrets)
	if err != nil {
		return nil, err
	}
	// Clients offer TLS 1.2 at most unless told otherwise: tls_maximum_protocol_version in
	// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/common.proto
	cfg, err := baseTLS(ctx.GetCommonTlsContext(), mat, tls.VersionTLS12)
	if err != nil {
		return nil, err
	}
	cfg.InsecureSkipVerify = true                                                  // the callback verifies by Envoy's rules, which know no host names
	cfg.VerifyPeerCertificate = verifyWith(mat.verify, x509.ExtKeyUsageServerAuth) //nolint:gosec // no session cache is set, so none is resumed
	cfg.ServerName = ctx.GetSni()
	return &tlsContext{material: mat, config: cfg, sni: ctx.GetSni()}, nil
}

func baseTLS(c *tlsv3.CommonTlsContext, m *material, defaultMax uint16) (*tls.Config, error) {
	params := c.GetTlsParams()
	cfg := &tls.Config{
		Certificates: m.certs, NextProtos: c.GetAlpnProtocols(),
		MinVersion: tlsVersion(params.GetTlsMinimumProtocolVersion(), tls.VersionTLS12),
		MaxVersion: tlsVersion(params.GetTlsMaximumProtocolVersion(), defaultMax),
	}
	cfg.MaxVersion = max(cfg.MaxVersion, cfg.MinVersion)
	for _, name := range params.GetCipherSuites() {
		ids, err := cipherSuites(name)
		if err != nil {
			return nil, err
		}
		cfg.CipherSuites = append(cfg.CipherSuites, ids...)
	}
	return cfg, nil
}

func tlsVersion(v tlsv3.TlsParameters_TlsProtocol, auto uint16) uint16 {
	switch v {
	case tlsv3.TlsParameters_TLSv1_0:
		return tls.VersionTLS10
	case tlsv3.TlsParameters_TLSv1_1:
		return tls.VersionTLS11
	case tlsv3.TlsParameters_TLSv1_2:
		return tls.VersionTLS12
	case tlsv3.TlsParameters_TLSv1_3:
		return tls.VersionTLS13
	default:
		return auto
	}
}

// cipherSuites translates one entry of cipher_suites, which may be an equal-preference group "[A|B]".
func cipherSuites(entry string) ([]uint16, error) {
	known := map[string]uint16{
		"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	}
	var ids []uint16
	for name := range strings.SplitSeq(strings.Trim(entry, "[]"), "|") {
		id, ok := known[name]
		if !ok {
			return nil, envoyError("Failed to initialize cipher suites %s", entry)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// verifyWith is the handshake's callback. A client that may stay anonymous calls it with no certificate.
func verifyWith(v *verifier, usage x509.ExtKeyUsage) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		if v == nil || len(raw) == 0 {
			return nil
		}
		chain := make([]*x509.Certificate, 0, len(raw))
		for _, der := range raw {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("%w: %w", errUntrusted, err)
			}
			chain = append(chain, c)
		}
		return v.verify(chain, usage)
	}
}

// lenientALPN makes a handshake without a common protocol go on without ALPN, as BoringSSL does in Envoy; crypto/tls
// would end it.
func lenientALPN(cfg *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, p := range hello.SupportedProtos {
			if slices.Contains(cfg.NextProtos, p) {
				return nil, nil
			}
		}
		without := cfg.Clone()
		without.NextProtos, without.GetConfigForClient = nil, nil
		return without, nil
	}
}

// sslStats counts handshakes under `<scope>ssl.`.
type sslStats struct{ scope *stats.Scope }

// handshake counts one that succeeded.
func (s sslStats) handshake(state tls.ConnectionState) {
	s.scope.Counter("ssl.handshake").Inc()
	if len(state.PeerCertificates) == 0 {
		s.scope.Counter("ssl.no_certificate").Inc()
	}
	s.scope.Counter("ssl.versions." + tlsVersionName(state.Version)).Inc()
	s.scope.Counter("ssl.ciphers." + tls.CipherSuiteName(state.CipherSuite)).Inc()
}

// failure counts one that failed, by its cause.
func (s sslStats) failure(err error, require bool) {
	name := "ssl.connection_error"
	switch {
	case errors.Is(err, errWrongSAN):
		name = "ssl.fail_verify_san"
	case errors.Is(err, errUntrusted):
		name = "ssl.fail_verify_error"
	case require && strings.Contains(err.Error(), "didn't provide a certificate"):
		name = "ssl.fail_verify_no_cert"
	}
	s.scope.Counter(name).Inc()
}

// declare makes the counters visible from the start, as Envoy's are.
func (s sslStats) declare() {
	for _, name := range []string{"connection_error", "handshake", "session_reused", "no_certificate",
		"fail_verify_no_cert", "fail_verify_error", "fail_verify_san", "fail_verify_cert_hash"} {
		s.scope.Counter("ssl." + name)
	}
}

// tlsVersionName is BoringSSL's: "TLSv1.2".
func tlsVersionName(v uint16) string {
	return strings.Replace(tls.VersionName(v), "TLS ", "TLSv", 1)
}
