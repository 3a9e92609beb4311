// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (s *Server) certs(w http.ResponseWriter, _ *http.Request) {
	answer := &adminv3.Certificates{}
	for _, c := range s.cfg.Traffic.Certs() {
		certificate := &adminv3.Certificate{}
		for _, ca := range c.CA {
			certificate.CaCert = append(certificate.CaCert, details(ca, c.Source))
		}
		for _, link := range c.Chain {
			certificate.CertChain = append(certificate.CertChain, details(link, c.Source))
		}
		answer.Certificates = append(answer.Certificates, certificate)
	}
	sendProto(w, answer, false)
}

// details shows one certificate as Envoy does: the serial in hexadecimal, and
// the days left rounded down, 0 if it has expired.
func details(c *x509.Certificate, source string) *adminv3.CertificateDetails {
	days := max(0, int64(time.Until(c.NotAfter)/(24*time.Hour)))
	d := &adminv3.CertificateDetails{
		Path: source, SerialNumber: hex.EncodeToString(c.SerialNumber.Bytes()), DaysUntilExpiration: uint64(days),
		ValidFrom: timestamppb.New(c.NotBefore), ExpirationTime: timestamppb.New(c.NotAfter),
	}
	for _, name := range c.DNSNames {
		d.SubjectAltNames = append(d.SubjectAltNames, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_Dns{Dns: name}})
	}
	for _, uri := range c.URIs {
		d.SubjectAltNames = append(d.SubjectAltNames, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_Uri{Uri: uri.String()}})
	}
	for _, ip := range c.IPAddresses {
		d.SubjectAltNames = append(d.SubjectAltNames, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_IpAddress{IpAddress: ip.String()}})
	}
	return d
}
