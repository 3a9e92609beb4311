// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

const xfccHeader = "X-Forwarded-Client-Cert"

// forwardClientCert treats x-forwarded-client-cert as the connection manager is told to.
// Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers
func (h *hcm) forwardClientCert(r *http.Request, d *downstream) {
	mode := h.proto.GetForwardClientCertDetails()
	mutual := d.peer() != nil
	switch mode {
	case hcmv3.HttpConnectionManager_ALWAYS_FORWARD_ONLY:
		return
	case hcmv3.HttpConnectionManager_FORWARD_ONLY:
		if !mutual {
			r.Header.Del(xfccHeader)
		}
		return
	case hcmv3.HttpConnectionManager_SANITIZE:
		r.Header.Del(xfccHeader)
		return
	}
	if !mutual {
		r.Header.Del(xfccHeader)
		return
	}
	own := h.clientCertElement(d)
	before := strings.Join(r.Header.Values(xfccHeader), ",")
	if mode == hcmv3.HttpConnectionManager_APPEND_FORWARD && before != "" {
		own = before + "," + own
	}
	r.Header.Set(xfccHeader, own)
}

// clientCertElement describes the peer of this hop. By and Hash are always there.
func (h *hcm) clientCertElement(d *downstream) string {
	peer, wants := d.peer(), h.proto.GetSetCurrentClientCertDetails()
	var parts []string
	for _, uri := range d.chain.tls.material.leafURIs() {
		parts = append(parts, "By="+uri)
	}
	sum := sha256.Sum256(peer.Raw)
	parts = append(parts, "Hash="+hex.EncodeToString(sum[:]))
	if wants.GetCert() {
		parts = append(parts, `Cert="`+escapedPEM(peer)+`"`)
	}
	if wants.GetChain() {
		parts = append(parts, `Chain="`+escapedPEM(d.tls.PeerCertificates...)+`"`)
	}
	if wants.GetSubject().GetValue() {
		parts = append(parts, `Subject="`+strings.ReplaceAll(peer.Subject.String(), `"`, `\"`)+`"`)
	}
	if wants.GetUri() {
		for _, u := range peer.URIs {
			parts = append(parts, "URI="+u.String())
		}
	}
	if wants.GetDns() {
		for _, name := range peer.DNSNames {
			parts = append(parts, "DNS="+name)
		}
	}
	return strings.Join(parts, ";")
}

func escapedPEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return strings.ReplaceAll(url.QueryEscape(b.String()), "+", "%20")
}
