// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
	"podplane/integration/proc"
)

// The addresses of the text, which in this network namespace are free.
const (
	lifecycleURL = "http://127.0.0.1:20600"
	metricsURL   = "http://127.0.0.1:20100"
	appAddress   = "127.0.0.1:8080"
	node         = "my-node"
	proxyID      = "web-sidecar-proxy"
)

// site is what surrounds the commands of one scenario, which run in the order of the pages and their text.
type site struct {
	place Place
	// around is called before each block, with its test, and cleans up after it.
	around func(t *testing.T)
}

// scenarios are the places that pages name.
var scenarios = map[string]func(t *testing.T) site{
	// A copy of the tree, with bin/, and nothing else.
	"checkout": func(*testing.T) site { return site{place: here.place()} },
	// A Consul server at its usual ports, and a service `web` with its proxy that are registered and not there.
	"consul": consulSite,
	// The same, and a podplane that is ready, with the usual ports; each block gets one of its own.
	"sidecar": func(t *testing.T) site {
		t.Helper()
		s := consulSite(t)
		s.around = func(t *testing.T) { t.Helper(); startSidecar(t, here.place(), "-shutdown-when-idle", "always") }
		return s
	},
	// A Consul server with TLS and ACLs, consul.example.internal, and what its administrators hand out.
	"secure": secureSite,
}

// consulSite is a mesh without TLS to the servers, and without ACLs.
func consulSite(t *testing.T) site {
	t.Helper()
	consul := consultest.New(t, consultest.Options{})
	relay(t, "127.0.0.1:8500", consul.HTTPAddr(0))
	relay(t, "127.0.0.1:8502", consul.GRPCAddr(0))
	application(t, appAddress)
	register(t, consul)
	return site{place: here.place()}
}

// register registers the service `web` of the texts.
func register(t *testing.T, consul *consultest.Cluster) {
	t.Helper()
	must(t, consul.Client().Register(t.Context(), consultest.Service{
		Name: "web", Node: node, Port: 8080, ProxyPort: 20000,
		Upstreams:   []consultest.Upstream{{DestinationName: "api", LocalBindPort: 9191}},
		ProxyConfig: map[string]any{"envoy_prometheus_bind_addr": "0.0.0.0:20200"},
	}))
}

// startSidecar starts a podplane with the usual ports, and waits until it is ready. Its end must be clean.
func startSidecar(t *testing.T, place Place, args ...string) *proc.Process {
	t.Helper()
	process := start(t, place, append([]string{
		"-addresses", "127.0.0.1", "-tls-disabled", "-proxy-node-name", node, "-proxy-id", proxyID,
		"-telemetry-prom-service-metrics-url", "http://" + appAddress + "/metrics", "-shutdown-grace-period-seconds", "2",
	}, args...)...)
	awaitReady(t, process)
	return process
}

// start starts a podplane, which is ended with the test, and then must say that all is well.
func start(t *testing.T, place Place, args ...string) *proc.Process {
	t.Helper()
	process, err := proc.Start(proc.Spec{
		Name: "podplane", Dir: place.Dir, Env: place.Env, Args: append([]string{filepath.Join(here.Checkout, "bin/podplane")}, args...),
	})
	must(t, err)
	t.Cleanup(func() {
		if err := process.Stop(patience); err != nil {
			t.Error(err)
		}
		if code := process.ExitCode(); code != 0 {
			t.Errorf("podplane ends with code %d", code)
		}
		if t.Failed() {
			t.Logf("--- podplane ---\n%s", process.Tail(20_000))
		}
	})
	return process
}

func awaitReady(t *testing.T, process *proc.Process) {
	t.Helper()
	await(t, "readiness", func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, lifecycleURL+"/ready")
		return !process.Running() || err == nil && answer.Status == 200
	})
	if !process.Running() {
		t.Fatal("podplane has ended")
	}
}

func await(t *testing.T, what string, cond func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := mesh.Until(ctx, cond); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// secureSite is a mesh with TLS and ACLs, and a machine that may join it.
func secureSite(t *testing.T) site {
	t.Helper()
	ca, err := consultest.NewCA("https")
	must(t, err)
	leaf, err := ca.Issue(consultest.ServerName)
	must(t, err)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cert.pem"), leaf.Cert)
	write(t, filepath.Join(dir, "key.pem"), leaf.Key)
	consul := consultest.New(t, consultest.Options{TLS: true, JWT: true, Config: map[string]any{
		"ports": map[string]any{"https": 8501},
		"tls":   map[string]any{"https": map[string]any{"cert_file": filepath.Join(dir, "cert.pem"), "key_file": filepath.Join(dir, "key.pem")}},
	}})
	relay(t, "127.0.0.1:8500", consul.HTTPAddr(0))
	relay(t, "127.0.0.1:8503", consul.GRPCAddr(0))
	application(t, appAddress)
	register(t, consul)
	method, err := consul.JWTAuthMethod()
	must(t, err)
	method.Name = "kubernetes"
	must(t, consul.Client().CreateJWTAuthMethod(t.Context(), method))
	bearer, err := consul.Bearer("web", time.Hour)
	must(t, err)
	grpcCA, err := os.ReadFile(consul.CAFile())
	must(t, err)
	authorities := append(grpcCA, ca.PEM()...)
	write(t, "/etc/consul/ca.pem", authorities)
	write(t, filepath.Join(here.Checkout, "consul-ca.pem"), authorities)
	write(t, "/var/run/secrets/kubernetes.io/serviceaccount/token", []byte(bearer))
	link := "/usr/local/bin/envoy"
	if err := os.Symlink(here.Envoy.Path, link); err == nil {
		t.Cleanup(func() { _ = os.Remove(link) })
	}
	return site{place: here.place("CONSUL_HTTP_TOKEN=" + consul.Token())}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600))
}
