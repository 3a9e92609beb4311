// SPDX-License-Identifier: MPL-2.0

package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"podplane/integration/consultest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate is one as a service of the mesh presents it.
func certificate(t *testing.T, service string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{{Scheme: "spiffe", Host: "mesh", Path: "/ns/default/dc/dc1/svc/" + service}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// publicListener accepts one TLS connection and has it served; it gives the pod whose public listener it is.
func publicListener(t *testing.T, name string, auth tls.ClientAuthType, serve func(raw net.Conn, secured *tls.Conn)) *Pod {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t, "db")}, ClientAuth: auth}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		secured := tls.Server(raw, config)
		_ = secured.Handshake()
		serve(raw, secured)
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	addr, _ := ln.Addr().(*net.TCPAddr)
	return &Pod{spec: PodSpec{Name: name}, Service: consultest.Service{Name: name, ProxyPort: addr.Port}}
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name  string
		auth  tls.ClientAuthType
		serve func(raw net.Conn, secured *tls.Conn)
		seen  string
		err   string
	}{
		"alert": {
			name: "db", auth: tls.RequireAnyClientCert, serve: func(net.Conn, *tls.Conn) {},
			seen: "db presents spiffe://mesh/ns/default/dc/dc1/svc/db, and refuses",
		},
		"reset": {
			name: "db", serve: func(raw net.Conn, _ *tls.Conn) {
				if tcp, ok := raw.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
			},
			seen: "db presents spiffe://mesh/ns/default/dc/dc1/svc/db, and refuses",
		},
		"answers": {
			name: "db", serve: func(_ net.Conn, secured *tls.Conn) { _, _ = secured.Write([]byte("x")) },
			err: "db answers a client without a certificate",
		},
		"just ends":       {name: "db", serve: func(net.Conn, *tls.Conn) {}, err: "db did not refuse a client without a certificate: EOF"},
		"ends politely":   {name: "db", serve: func(_ net.Conn, secured *tls.Conn) { _ = secured.Close() }, err: "did not refuse"},
		"somebody else's": {name: "api", serve: func(net.Conn, *tls.Conn) {}, err: "the certificate of api is for"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := publicListener(t, tt.name, tt.auth, tt.serve)
			seen, err := pod.MutualTLS(t.Context())
			if (err != nil) != (tt.err != "") || !strings.HasPrefix(seen, tt.seen) {
				t.Fatalf("seen %q, %v; want %q, %q", seen, err, tt.seen, tt.err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "%!")) {
				t.Errorf("error %q, want %q", err, tt.err)
			}
		})
	}
}
