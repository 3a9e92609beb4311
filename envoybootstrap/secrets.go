// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

// Names of the static secrets of the Prometheus listener.
const (
	secretPrometheusCert       = "prometheus_cert"
	secretPrometheusValidation = "prometheus_validation_context"
)

// secret is envoy.extensions.transport_sockets.tls.v3.Secret. Secrets given by file name are read by Envoy again when
// the files change, so that certificates rotate without a restart.
type secret struct {
	Name              string             `json:"name"`
	TLSCertificate    *tlsCertificate    `json:"tls_certificate,omitempty"`
	ValidationContext *validationContext `json:"validation_context,omitempty"`
}

type tlsCertificate struct {
	CertificateChain dataSource `json:"certificate_chain"`
	PrivateKey       dataSource `json:"private_key"`
}

type validationContext struct {
	TrustedCA dataSource `json:"trusted_ca"`
}

// dataSource is a file's path or the content itself.
type dataSource struct {
	Filename string `json:"filename,omitempty"`
	Inline   string `json:"inline_string,omitempty"`
}

// newSecrets gives the secrets of the Prometheus listener: each once, and only if there is such a listener with TLS.
func newSecrets(p Prometheus, pc proxyConfig) []secret {
	if !pc.hasPrometheus() || !p.tls() {
		return nil
	}
	validation := &validationContext{TrustedCA: dataSource{Filename: p.CAFile}}
	if p.CAFile == "" {
		// Envoy reads no certificate from a folder: a watched_directory alone verifies nothing, it says where changes show.
		validation.TrustedCA.Inline = p.CABundle
	}
	return []secret{
		{
			Name: secretPrometheusCert,
			TLSCertificate: &tlsCertificate{
				CertificateChain: dataSource{Filename: p.CertFile},
				PrivateKey:       dataSource{Filename: p.KeyFile},
			},
		},
		{Name: secretPrometheusValidation, ValidationContext: validation},
	}
}

// downstreamTLSContext is envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext that refers to static secrets.
type downstreamTLSContext struct {
	Type   string           `json:"@type"`
	Common commonTLSContext `json:"common_tls_context"`
}

type commonTLSContext struct {
	Certificates []secretRef `json:"tls_certificate_sds_secret_configs"`
	Validation   secretRef   `json:"validation_context_sds_secret_config"`
}

type secretRef struct {
	Name string `json:"name"`
}

// prometheusTLS is the transport socket of the Prometheus listener. A scraper may do without a certificate; one that it
// presents is verified.
func prometheusTLS() *extension {
	return &extension{
		Name: "tls",
		TypedConfig: downstreamTLSContext{
			Type: typeURL("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
			Common: commonTLSContext{
				Certificates: []secretRef{{Name: secretPrometheusCert}},
				Validation:   secretRef{Name: secretPrometheusValidation},
			},
		},
	}
}
