// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

const downstreamTLS = `{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",`

// tlsFront is an echo service behind a TLS chain of this context (without the common braces).
func tlsFront(t testing.TB, e *Engine, context string) string {
	t.Helper()
	host, port, _ := strings.Cut(echo(t), ":")
	setCluster(t, e, staticCluster("c", host, port))
	setListener(t, e, withSocket(downstreamTLS+context+`}`))
	return listenAddr(t, e, "l")
}

// handshake connects and sends a line, so that TLS 1.3 shows a refusal too.
func handshake(addr string, cfg *tls.Config) (tls.ConnectionState, error) {
	d := &net.Dialer{Timeout: 5 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", addr, cfg)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.WriteString(c, "x"); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return c.ConnectionState(), err
}

// TestSecretsAndFiles is the TLS of Envoy's Prometheus listener: static secrets that read files.
func TestSecretsAndFiles(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := ca.leaf(t, "spiffe://a/b")
	for name, text := range map[string]string{"cert": cert, "key": key, "ca": ca.PEM} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := newEngine(t)
	for _, s := range []string{
		`{"name":"cert","tls_certificate":{"certificate_chain":{"filename":"` + dir + `/cert"},"private_key":{"filename":"` + dir + `/key"}}}`,
		`{"name":"ca","validation_context":{"trusted_ca":{"filename":"` + dir + `/ca"}}}`,
	} {
		if err := e.AddSecret(parse(t, &tlsv3.Secret{}, s)); err != nil {
			t.Fatal(err)
		}
	}
	for name, validation := range map[string]string{
		"by secret": `"validation_context_sds_secret_config":{"name":"ca"}`,
		"combined":  `"combined_validation_context":{"default_validation_context":{"match_typed_subject_alt_names":[{"san_type":"DNS","matcher":{"suffix":".test"}}]},"validation_context_sds_secret_config":{"name":"ca"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			addr := tlsFront(t, e, `"common_tls_context":{"tls_certificate_sds_secret_configs":[{"name":"cert"}],`+validation+`}`)
			pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
			if err != nil {
				t.Fatal(err)
			}
			with := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}
			if _, err := handshake(addr, with); err != nil {
				t.Errorf("with a certificate: %v", err)
			}
			if _, err := handshake(addr, &tls.Config{InsecureSkipVerify: true}); err != nil {
				t.Errorf("without one, which is not required: %v", err)
			}
			stranger := newAuthority(t)
			c, k := stranger.leaf(t, "spiffe://a/b")
			if pair, err = tls.X509KeyPair([]byte(c), []byte(k)); err != nil {
				t.Fatal(err)
			}
			if _, err := handshake(addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}); err == nil {
				t.Error("a stranger's certificate was accepted")
			}
			certs := e.Certs()
			if len(certs) != 1 || certs[0].Source != dir+"/cert" || len(certs[0].CA) != 1 || certs[0].Chain[0].URIs[0].String() != "spiffe://a/b" {
				t.Errorf("certs %+v", certs)
			}
		})
	}
}

func TestProtocolVersionsAndALPN(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.leaf(t, "spiffe://a/b")
	tests := map[string]struct {
		common  string
		client  *tls.Config
		fails   bool
		version uint16
		alpn    string
	}{
		"defaults":           {"", &tls.Config{}, false, tls.VersionTLS13, ""},
		"old client":         {"", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, true, 0, ""},
		"maximum":            {`,"tls_params":{"tls_maximum_protocol_version":"TLSv1_2"}`, &tls.Config{}, false, tls.VersionTLS12, ""},
		"minimum":            {`,"tls_params":{"tls_minimum_protocol_version":"TLSv1_3"}`, &tls.Config{MaxVersion: tls.VersionTLS12}, true, 0, ""},
		"cipher":             {`,"tls_params":{"tls_maximum_protocol_version":"TLSv1_2","cipher_suites":["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-RSA-AES128-GCM-SHA256]"]}`, &tls.Config{}, false, tls.VersionTLS12, ""},
		"alpn":               {`,"alpn_protocols":["h2","http/1.1"]`, &tls.Config{NextProtos: []string{"http/1.1"}}, false, tls.VersionTLS13, "http/1.1"},
		"alpn not in common": {`,"alpn_protocols":["http/1.1"]`, &tls.Config{NextProtos: []string{"spdy"}}, false, tls.VersionTLS13, ""},
		"alpn not asked for": {`,"alpn_protocols":["http/1.1"]`, &tls.Config{}, false, tls.VersionTLS13, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			addr := tlsFront(t, e, `"common_tls_context":{"tls_certificates":[`+pairJSON(cert, key)+`]`+test.common+`}`)
			test.client.InsecureSkipVerify = true
			state, err := handshake(addr, test.client)
			if (err != nil) != test.fails {
				t.Fatalf("error %v", err)
			}
			if state.Version != test.version || state.NegotiatedProtocol != test.alpn {
				t.Errorf("version %x, alpn %q", state.Version, state.NegotiatedProtocol)
			}
			counter := "ssl.handshake"
			if test.fails {
				counter = "ssl.connection_error"
			}
			eventually(t, counter, func() bool { return stat(e, "listener.127.0.0.1_0."+counter) == 1 })
		})
	}
}

func TestSANKinds(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	certPEM, _ := ca.leaf(t, "spiffe://td/ns/default/svc/web")
	chain, err := parseCerts([]byte(certPEM))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		matcher string
		ok      bool
	}{
		"uri exact":        {`{"san_type":"URI","matcher":{"exact":"spiffe://td/ns/default/svc/web"}}`, true},
		"uri prefix":       {`{"san_type":"URI","matcher":{"prefix":"spiffe://td/"}}`, true},
		"uri suffix":       {`{"san_type":"URI","matcher":{"suffix":"/svc/web"}}`, true},
		"uri regex":        {`{"san_type":"URI","matcher":{"safe_regex":{"regex":"spiffe://td/.*/web"}}}`, true},
		"regex is whole":   {`{"san_type":"URI","matcher":{"safe_regex":{"regex":"spiffe://td"}}}`, false},
		"uri of another":   {`{"san_type":"URI","matcher":{"exact":"spiffe://td/ns/default/svc/api"}}`, false},
		"dns":              {`{"san_type":"DNS","matcher":{"exact":"LEAF.test","ignore_case":true}}`, true},
		"dns is not a uri": {`{"san_type":"DNS","matcher":{"prefix":"spiffe"}}`, false},
		"ip":               {`{"san_type":"IP_ADDRESS","matcher":{"exact":"1.2.3.4"}}`, false},
		"email":            {`{"san_type":"EMAIL","matcher":{"contains":"@"}}`, false},
	}
	for name, test := range tests {
		v := parse(t, &tlsv3.CertificateValidationContext{}, `{"trusted_ca":{"inline_string":"`+quoted(ca.PEM)+`"},"match_typed_subject_alt_names":[`+test.matcher+`]}`)
		compiled, err := newVerifier(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.verify(chain, x509.ExtKeyUsageServerAuth); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	untyped := parse(t, &tlsv3.CertificateValidationContext{}, `{"trust_chain_verification":"ACCEPT_UNTRUSTED","match_subject_alt_names":[{"exact":"leaf.test"}]}`)
	compiled, err := newVerifier(untyped)
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.verify(chain, x509.ExtKeyUsageServerAuth); err != nil {
		t.Error(err)
	}
}

// TestChainByServerName is a terminating gateway: chains by SNI, and the rest to the cluster that the SNI names.
func TestChainByServerName(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.leaf(t, "spiffe://a/b")
	e := newEngine(t)
	for _, name := range []string{"own.test", "passed.test"} {
		host, port, _ := strings.Cut(echo(t), ":")
		if name == "passed.test" {
			host, port, _ = strings.Cut(tlsFront(t, newEngine(t), `"common_tls_context":{"tls_certificates":[`+pairJSON(cert, key)+`]}`), ":")
		}
		setCluster(t, e, staticCluster(name, host, port))
	}
	proxy := func(cluster string) string {
		return strings.Replace(tcpFilter, `"cluster":"c"`, `"cluster":"`+cluster+`"`, 1)
	}
	setListener(t, e, `{"name":"gw","address":`+socketJSON("127.0.0.1", "0")+`,"listener_filters":[{"name":"envoy.filters.listener.tls_inspector","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}],"listener_filters_timeout":"2s","filter_chains":[`+
		`{"filter_chain_match":{"server_names":["own.test"]},"filters":[`+proxy("own.test")+`],"transport_socket":{"name":"tls","typed_config":`+downstreamTLS+`"common_tls_context":{"tls_certificates":[`+pairJSON(cert, key)+`]}}}},`+
		`{"filter_chain_match":{"transport_protocol":"tls"},"filters":[{"name":"s","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.sni_cluster.v3.SniCluster"}},`+proxy("")+`]}]}`)
	addr := listenAddr(t, e, "gw")
	for _, name := range []string{"own.test", "passed.test"} {
		if _, err := handshake(addr, &tls.Config{InsecureSkipVerify: true, ServerName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := handshake(addr, &tls.Config{InsecureSkipVerify: true, ServerName: "unknown.test"}); err == nil {
		t.Error("an unknown name was carried")
	}
	if got, err := say(addr, "plain"); err == nil {
		t.Errorf("plain text got %q", got)
	}
	if got := stat(e, "listener.127.0.0.1_0.no_filter_chain_match"); got != 1 {
		t.Errorf("no_filter_chain_match = %d", got)
	}
	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	eventually(t, "a silent client is closed", func() bool { return stat(e, "listener.127.0.0.1_0.downstream_pre_cx_timeout") == 1 })
}
