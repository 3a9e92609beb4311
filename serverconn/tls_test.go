// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
)

// authority is a certificate authority of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA " + t.Name()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{t, cert, key}
}

func (a authority) pem() string { return pemOf("CERTIFICATE", a.cert.Raw) }

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue makes a certificate for 127.0.0.x and the names.
func (a authority) issue(names ...string) (certPEM, keyPEM string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: names,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if len(names) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", keyDER)
}

func (a authority) pair(names ...string) *tls.Certificate {
	a.t.Helper()
	certPEM, keyPEM := a.issue(names...)
	cert, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		a.t.Fatal(err)
	}
	return &cert
}

// serving makes a cluster speak TLS with whatever is stored at the moment.
func serving(config *atomic.Pointer[tls.Config]) func(*fakeConsul) {
	return func(c *fakeConsul) {
		c.creds = credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS12,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return config.Load(), nil
			},
		})
	}
}

func serverTLS(cert *tls.Certificate, clients ...authority) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}, NextProtos: []string{"h2"}}
	if len(clients) > 0 {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		for _, a := range clients {
			config.ClientCAs.AddCert(a.cert)
		}
	}
	return config
}

func TestTLSTroublesInWords(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	caFile, otherFile := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "other.pem")
	writeFile(t, caFile, ca.pem())
	writeFile(t, otherFile, other.pem())
	cases := map[string]struct {
		server *tls.Config // nil speaks plain text
		client TLSConfig
		// command has the address found by a command, which gives no name.
		command bool
		want    string // of LastError; empty when it works
	}{
		"by address":          {server: serverTLS(ca.pair()), client: TLSConfig{CAPath: caFile}},
		"by name":             {server: serverTLS(ca.pair("server.dc1.consul")), client: TLSConfig{CAPath: caFile, ServerName: "server.dc1.consul"}},
		"by a command":        {server: serverTLS(ca.pair("s")), client: TLSConfig{CAPath: caFile, ServerName: "s"}, command: true},
		"not verified":        {server: serverTLS(ca.pair("other")), client: TLSConfig{InsecureSkipVerify: true}},
		"unknown authority":   {server: serverTLS(ca.pair()), client: TLSConfig{CAPath: otherFile}, want: "not from a trusted authority"},
		"other name":          {server: serverTLS(ca.pair("a.consul")), client: TLSConfig{CAPath: caFile, ServerName: "b.consul"}, want: "for another name"},
		"name, not address":   {server: serverTLS(ca.pair("a.consul")), client: TLSConfig{CAPath: caFile}, want: "set the TLS server name"},
		"certificate wanted":  {server: serverTLS(ca.pair(), ca), client: TLSConfig{CAPath: caFile}, want: "may demand a client certificate"},
		"TLS to plain text":   {client: TLSConfig{CAPath: caFile}, want: "does not speak TLS"},
		"plain text to TLS":   {server: serverTLS(ca.pair()), client: TLSConfig{Disabled: true}, want: "may demand TLS"},
		"plain text to plain": {client: TLSConfig{Disabled: true}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var opts []func(*fakeConsul)
			if test.server != nil {
				var config atomic.Pointer[tls.Config]
				config.Store(test.server)
				opts = append(opts, serving(&config))
			}
			c := newFakeConsul(t, opts...)
			addresses := "127.0.0.1"
			if test.command {
				addresses = "exec=echo 127.0.0.1"
			}
			r := start(t, Config{Addresses: addresses, GRPCPort: c.port, TLS: test.client})
			if test.want == "" {
				r.mustBeReady(t)
				return
			}
			eventually(t, test.want, func() bool { return strings.Contains(r.Status().LastError, test.want) })
		})
	}
}

func TestTLSReload(t *testing.T) {
	t.Parallel()
	// A folder as Kubernetes mounts it: links to a link to the files of the day.
	folder := t.TempDir()
	publish := func(day string, files map[string]string) {
		if err := os.Mkdir(filepath.Join(folder, ".."+day), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			writeFile(t, filepath.Join(folder, ".."+day, name), content)
		}
		link := filepath.Join(folder, "..data_tmp")
		if err := os.Symlink(".."+day, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(folder, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	old, next := newAuthority(t), newAuthority(t)
	files := func(a authority) map[string]string {
		cert, key := a.issue()
		return map[string]string{"ca.crt": a.pem(), "tls.crt": cert, "tls.key": key}
	}
	publish("monday", files(old))
	for _, name := range []string{"ca.crt", "tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	var config atomic.Pointer[tls.Config]
	config.Store(serverTLS(old.pair(), old))
	c := newFakeConsul(t, serving(&config), withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	cfg.TLS = TLSConfig{
		CAPath:   filepath.Join(folder, "ca.crt"),
		CertFile: filepath.Join(folder, "tls.crt"), KeyFile: filepath.Join(folder, "tls.key"),
	}
	r := start(t, cfg)
	r.mustBeReady(t)

	broken := files(next)
	broken["tls.key"] = "no key"
	publish("tuesday", broken)
	eventually(t, "the broken files refused", func() bool {
		text := r.Status().ReloadError
		return strings.Contains(text, "tls.key") && !strings.Contains(text, "ca.crt")
	})
	if _, err := r.ask(t.Context()); err != nil {
		t.Error(err)
	}

	config.Store(serverTLS(next.pair(), next))
	publish("wednesday", files(next))
	eventually(t, "the new files in use", func() bool {
		st := r.Status()
		return st.Epoch > 1 && st.Connected && st.ReloadError == ""
	})
	if _, err := r.ask(t.Context()); err != nil {
		t.Error(err)
	}
	if n := c.loginCount(); n != 1 {
		t.Errorf("%d logins, although the token was good", n)
	}
}

func TestLoadSecurity(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	certPEM, keyPEM := ca.issue()
	folder := t.TempDir()
	in := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, content)
		return path
	}
	cert, key := in("tls.crt", certPEM), in("tls.key", keyPEM)
	in("authorities/one.pem", "# a comment\n"+ca.pem())
	in("authorities/tls.key", keyPEM)
	in("authorities/deeper/two.pem", "not looked at")
	in("none/readme", "nothing here")
	broken := in("broken.pem", pemOf("CERTIFICATE", []byte("x")))
	empty := in("empty.pem", "")
	cases := map[string]struct {
		config TLSConfig
		err    string // part of the error; empty when there is none
	}{
		"disabled, whatever else": {config: TLSConfig{Disabled: true, CAPath: "missing"}},
		"system's authorities":    {config: TLSConfig{}},
		"folder":                  {config: TLSConfig{CAPath: filepath.Join(folder, "authorities")}},
		"client certificate":      {config: TLSConfig{CertFile: cert, KeyFile: key}},
		"missing CA":              {config: TLSConfig{CAPath: folder + "/missing"}, err: "CA certificates: stat " + folder + "/missing"},
		"empty CA":                {config: TLSConfig{CAPath: empty}, err: "empty.pem: no PEM certificate"},
		"empty folder":            {config: TLSConfig{CAPath: folder + "/none"}, err: "none: no PEM certificate"},
		"broken CA":               {config: TLSConfig{CAPath: broken}, err: "broken.pem: certificate 1"},
		"missing certificate":     {config: TLSConfig{CertFile: "missing.crt", KeyFile: key}, err: "client certificate: open missing.crt"},
		"missing key":             {config: TLSConfig{CertFile: cert, KeyFile: "missing.key"}, err: "client key: open missing.key"},
		"wrong key":               {config: TLSConfig{CertFile: cert, KeyFile: cert}, err: "with key " + cert},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := loadSecurity(test.config)
			if (err != nil) != (test.err != "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if err == nil && test.config.Disabled != (s.config == nil) {
				t.Errorf("config %v", s.config)
			}
			if s.config != nil && s.config.MinVersion != tls.VersionTLS12 {
				t.Errorf("TLS version %x", s.config.MinVersion)
			}
		})
	}
}
