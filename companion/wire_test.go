// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/config"
	"podplane/injector/webhook"
)

// TestInject has the injector decide, with what the API server can do.
func TestInject(t *testing.T) {
	t.Parallel()
	c := options("").Config
	native := false
	mutate, err := inject(c, func() (bool, string) { return native, "" })
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		annotation string
		native     bool
		want       string // in the patch
		refusal    string
	}{
		"native":  {`"consul.hashicorp.com/connect-inject":"true"`, true, "/spec/initContainers", ""},
		"first":   {`"consul.hashicorp.com/connect-inject":"true"`, false, "/spec/containers", ""},
		"not":     {`"other":"x"`, true, "", ""},
		"refusal": {`"consul.hashicorp.com/connect-inject":"maybe"`, true, "", "must be true or false"},
	} {
		native = tc.native
		pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","annotations":{` + tc.annotation + `}},
			"spec":{"serviceAccountName":"web","containers":[{"name":"web","image":"i"}]}}`
		got, err := mutate(t.Context(), webhook.Request{Pod: []byte(pod), Namespace: "shop"})
		if err != nil || !strings.Contains(string(got.Patch), tc.want) || (len(got.Patch) > 0) != (tc.want != "") || !strings.Contains(got.Refusal, tc.refusal) {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
		if len(got.Patch) > 0 && (!json.Valid(got.Patch) || !strings.Contains(string(got.Patch), "podplane:test")) {
			t.Errorf("%s: patch %s", name, got.Patch)
		}
	}
	if _, err := mutate(t.Context(), webhook.Request{Pod: []byte("what")}); err == nil {
		t.Error("no pod is no error")
	}
}

func TestInjectorConfig(t *testing.T) {
	t.Parallel()
	c := options("").Config
	c.Consul.TLS = config.ConsulTLS{ServerName: "server.dc1.consul"}
	c.Inject.AuthMethod, c.Inject.TokenAudience, c.Inject.TokenExpiry = "podplane", "consul", 20*time.Minute
	c.Inject.Compat, c.Inject.CompanionImage = true, "companion"
	got, err := injectorConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	if got.Consul.TLSServerName != "server.dc1.consul" || got.Consul.GRPCPort != 8502 || got.Consul.Addresses != "127.0.0.1" || got.NodeSuffix != "-virtual" {
		t.Errorf("consul is %+v", got.Consul)
	}
	if got.Login.AuthMethod != "podplane" || got.Login.Audience != "consul" || got.Login.ExpirySeconds != 1200 || !got.Compat || got.CompanionImage != "companion" {
		t.Errorf("got %+v", got)
	}
	c.Inject.TokenExpiry = time.Minute
	if _, err := inject(c, nil); err == nil || !strings.Contains(err.Error(), "600") {
		t.Errorf("tokens that live a minute: %v", err)
	}
}

// TestAuthorities follows the file, as long as there is something good in it.
func TestAuthorities(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.pem")
	c := options("").Config
	c.Consul.TLS = config.ConsulTLS{CACertsPath: path}
	put := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := inject(c, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no file gives %v", err)
	}
	put("PEM")
	if _, err := inject(c, nil); err == nil {
		t.Error("a file without certificates is no error")
	}
	first, second := authority(t, "first"), authority(t, "second of another length")
	put(first)
	mutate, err := inject(c, func() (bool, string) { return true, "" })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ content, want string }{{first, first}, {second, second}, {"PEM", second}} {
		put(step.content)
		got, err := mutate(t.Context(), webhook.Request{Namespace: "shop", Pod: []byte(`{"kind":"Pod","apiVersion":"v1",
			"metadata":{"name":"web","annotations":{"consul.hashicorp.com/connect-inject":"true"}},
			"spec":{"serviceAccountName":"web","containers":[{"name":"web","image":"i"}]}}`)})
		want, _ := json.Marshal(step.want)
		if err != nil || !strings.Contains(string(got.Patch), strings.Trim(string(want), `"`)) {
			t.Errorf("%v: %s", err, got.Patch)
		}
	}
	c.Consul.TLS = config.ConsulTLS{Disabled: true, CACertsPath: "/does/not/exist"}
	if _, err := inject(c, nil); err != nil {
		t.Errorf("without TLS the file is read: %v", err)
	}
}

// authority makes a certificate, in PEM.
func authority(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestRegistrarConfig(t *testing.T) {
	t.Parallel()
	c := options("").Config
	c.Inject.AuthMethod = "podplane"
	c.Tenancy.Partition = "p1"
	c.Registrar.NodeMeta = map[string]string{"a": "b"}
	log := hclog.NewNullLogger()
	got, err := registrarConfig(Registration{Config: c, Log: log})
	if err != nil || got.AuthMethod != "podplane" || got.Partition != "p1" || got.NodeMeta["a"] != "b" || got.NodeSuffix != "-virtual" ||
		got.Workers != 8 || got.SweepInterval != 5*time.Minute || !got.Locality || got.Defaults.ShutdownGrace != 30 || got.Logger != log {
		t.Errorf("got %+v, %v", got, err)
	}
	if got.Allowed("kube-system") || !got.Allowed("default") {
		t.Error("other namespaces are allowed than those of the webhook")
	}
	c.Registrar.TokenCleanup = false
	if got, _ := registrarConfig(Registration{Config: c}); got.AuthMethod != "" {
		t.Error("tokens are cleaned up although they should not be")
	}
	c.Defaults.CPULimit = "much"
	if _, err := registrarConfig(Registration{Config: c}); err == nil {
		t.Error("a bad quantity is no error")
	}
	if err := register().Add(t.Context(), nil, Registration{Config: c}); err == nil {
		t.Error("a bad quantity is no error")
	}
}

func TestWriteProxyIDs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "proxyid")
	if err := WriteProxyIDs([]string{path + "=web"}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "web" {
		t.Errorf("%q, %v", got, err)
	}
	for _, args := range [][]string{nil, {"a=b"}, {"/a"}, {path + "="}, {path + "/x=y"}} {
		if err := WriteProxyIDs(args); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
	if err := os.Mkdir(path+"-dir", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteProxyIDs([]string{path + "-dir=x"}); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// BenchmarkInject decides on a pod as the webhook does, without the network.
func BenchmarkInject(b *testing.B) {
	mutate, err := inject(options("").Config, func() (bool, string) { return true, "" })
	if err != nil {
		b.Fatal(err)
	}
	request := webhook.Request{Namespace: "shop", Pod: []byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","annotations":{
		"consul.hashicorp.com/connect-inject":"true","consul.hashicorp.com/connect-service-upstreams":"a:1234,b:1235"}},
		"spec":{"serviceAccountName":"web","containers":[{"name":"web","image":"i"},{"name":"other","image":"i"}]}}`)}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := mutate(b.Context(), request); err != nil || len(got.Patch) == 0 {
			b.Fatal(got, err)
		}
	}
}
