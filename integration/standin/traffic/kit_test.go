// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority is a certificate authority made for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, PEM: encodePEM("CERTIFICATE", der)}
}

// leaf issues a certificate for a SPIFFE ID, as PEM texts.
func (a *authority) leaf(t testing.TB, id string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{uri}, DNSNames: []string{"leaf.test"}, Subject: pkix.Name{CommonName: "leaf"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("CERTIFICATE", der), encodePEM("EC PRIVATE KEY", keyDER)
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// quoted is s as it stands inside of a JSON string.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return strings.Trim(string(b), `"`)
}

// parse reads a proto from JSON.
func parse[M proto.Message](t testing.TB, into M, text string) M {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("parse %T: %v\n%s", into, err, text)
	}
	return into
}

// newEngine is an engine whose workers run.
func newEngine(t testing.TB, change ...func(*Config)) *Engine {
	t.Helper()
	e := newIdleEngine(t, change...)
	e.StartWorkers()
	return e
}

// newIdleEngine is an engine as it is before the server is live.
func newIdleEngine(t testing.TB, change ...func(*Config)) *Engine {
	t.Helper()
	cfg := Config{DrainTime: time.Minute, DrainStrategy: DrainImmediate}
	if os.Getenv("TRAFFIC_TEST_LOG") != "" {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug})
	}
	for _, c := range change {
		c(&cfg)
	}
	e := New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func setCluster(t testing.TB, e *Engine, text string) {
	t.Helper()
	if err := e.UpdateCluster(parse(t, &clusterv3.Cluster{}, text)); err != nil {
		t.Fatal(err)
	}
}

func setEndpoints(t testing.TB, e *Engine, text string) {
	t.Helper()
	if err := e.UpdateEndpoints(parse(t, &endpointv3.ClusterLoadAssignment{}, text)); err != nil {
		t.Fatal(err)
	}
}

func setListener(t testing.TB, e *Engine, text string) {
	t.Helper()
	if err := e.UpdateListener(parse(t, &listenerv3.Listener{}, text)); err != nil {
		t.Fatal(err)
	}
}

func setRoutes(t testing.TB, e *Engine, text string) {
	t.Helper()
	if err := e.UpdateRoutes(parse(t, &routev3.RouteConfiguration{}, text)); err != nil {
		t.Fatal(err)
	}
}

// listenAddr is where a listener is bound.
func listenAddr(t testing.TB, e *Engine, name string) string {
	t.Helper()
	for _, l := range e.Listeners() {
		if l.Name == name {
			return l.LocalAddress
		}
	}
	t.Fatalf("no listener %q", name)
	return ""
}

// eventually waits until a condition holds; the deadline is generous because the machine may be busy.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// stat is the value of a statistic, 0 where there is none.
func stat(e *Engine, name string) int64 {
	v, _ := e.stats.Value(name)
	return v
}

// staticCluster is a plain cluster of one address.
func staticCluster(name, host, port string) string {
	return `{"name":"` + name + `","type":"STATIC","connect_timeout":"2s","load_assignment":{"cluster_name":"` + name + `","endpoints":[{"lb_endpoints":[` +
		lbEndpoint(host, port) + `]}]}}`
}

func lbEndpoint(host, port string) string {
	return `{"endpoint":{"address":` + socketJSON(host, port) + `}}`
}

func socketJSON(host, port string) string {
	return `{"socket_address":{"address":"` + host + `","port_value":` + port + `}}`
}

func parseQuietly(into proto.Message, text []byte) error { return protojson.Unmarshal(text, into) }
