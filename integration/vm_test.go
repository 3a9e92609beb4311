// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/envoybin"
	"podplane/integration/mesh"
	"podplane/integration/ports"
	"podplane/integration/proc"
)

// vm is a machine without orchestrator and Consul agent: an application, and one
// podplane that registers it.
type vm struct {
	machine
	t           *testing.T
	consul      *consultest.Cluster
	server      string // as seen from the machine
	node        string
	serviceFile string
	tokenFile   string
	token       string
	process     *proc.Process
}

// newVM writes a token that may do what docs say it must.
func newVM(ctx context.Context, t *testing.T, m machine, v vm, service string) *vm {
	t.Helper()
	v.machine, v.t = m, t
	v.tokenFile = filepath.Join(t.TempDir(), "token")
	client := v.consul.Client()
	policy := map[string]string{"Name": v.node, "Rules": fmt.Sprintf("node %q { policy = \"write\" }", v.node)}
	must(t, client.Put(ctx, "/v1/acl/policy", policy))
	var token consultest.Token
	must(t, client.Do(ctx, http.MethodPut, "/v1/acl/token", map[string]any{
		"ServiceIdentities": []map[string]string{{"ServiceName": service}},
		"Policies":          []map[string]string{{"Name": v.node}},
	}, &token))
	v.token = token.SecretID
	must(t, os.WriteFile(v.tokenFile, []byte(v.token+"\n"), 0o600))
	return &v
}

// start runs podplane with a service file, as a unit of systemd would.
func (v *vm) start(envoy envoybin.Envoy, definition string) {
	v.t.Helper()
	v.serviceFile = filepath.Join(filepath.Dir(v.tokenFile), "service.hcl")
	if strings.HasPrefix(definition, "{") {
		v.serviceFile = filepath.Join(filepath.Dir(v.tokenFile), "service.json")
	}
	must(v.t, os.WriteFile(v.serviceFile, []byte(definition), 0o600))
	ip, err := exec.LookPath("ip")
	must(v.t, err)
	v.process, err = proc.Start(proc.Spec{Name: "podplane of " + v.node, Args: []string{
		ip, "netns", "exec", v.name, podplane,
		"-addresses", v.server, "-grpc-port", fmt.Sprint(v.consul.GRPCPort()), "-tls-disabled",
		// Servers announce addresses that only their own machine has.
		"-server-watch-disabled",
		"-consul-http-port", port(v.t, v.consul.HTTPAddr(0)),
		"-credential-type", "static", "-static-token-path", v.tokenFile,
		"-service-file", v.serviceFile, "-proxy-node-name", v.node,
		"-envoy-executable-path", envoy.Path, "-envoy-concurrency", "1",
	}, Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(v.serviceFile), "GORACE=atexit_sleep_ms=20"}})
	must(v.t, err)
	process := v.process
	v.t.Cleanup(func() {
		if v.t.Failed() {
			v.t.Logf("--- %s ---\n%s", v.node, process.Output())
		}
		if strings.Contains(process.Output(), v.token) {
			v.t.Errorf("the token of %s is in the log", v.node)
		}
		_ = process.Stop(patience)
	})
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, after, found := strings.Cut(address, ":")
	if !found {
		t.Fatal("no port in " + address)
	}
	return after
}

func (v *vm) expectReady(ctx context.Context) {
	v.t.Helper()
	var last string
	err := mesh.Until(ctx, func(ctx context.Context) bool {
		code, body, err := v.get(ctx, "http://127.0.0.1:20600/ready")
		last = fmt.Sprint(body, err)
		return err == nil && code == http.StatusOK || !v.process.Running()
	})
	if err != nil || !v.process.Running() {
		v.t.Fatalf("%s is not ready: %s", v.node, last)
	}
}

// registered lists the IDs of the services on a node; nil if there is no node.
func registered(ctx context.Context, t *testing.T, consul *consultest.Cluster, node string) []string {
	t.Helper()
	var out *struct{ Services map[string]json.RawMessage }
	must(t, consul.Client().Get(ctx, "/v1/catalog/node/"+node, &out))
	if out == nil {
		return nil
	}
	ids := []string{}
	for id := range out.Services {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

const legacyDefinition = `
service {
  name = "legacy"
  id   = "%s"
  port = 8080
  check {
    http     = "http://127.0.0.1:8080/health"
    interval = "1s"
    timeout  = "10s"
  }
  connect {
    sidecar_service {}
  }
}
`

const clientDefinition = `{"service": {"name": "modern", "connect": {"sidecar_service": {"proxy": {
  "upstreams": [{"destination_name": "legacy", "local_bind_port": 9191}]
}}}}}`

// TestVM: a machine joins the mesh by one command, is reached from another one
// over mTLS, is lost to SIGKILL, and the next start leaves nothing of that.
func TestVM(t *testing.T) {
	t.Parallel()
	a, b := newMachines(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	consul := consultest.New(t, consultest.Options{ACL: true})
	envoy, err := envoybin.Find(ctx)
	must(t, err)
	// The servers are reached through the first machine.
	a.relay(t, consul.GRPCPort(), consul.GRPCAddr(0))
	a.relay(t, mustPort(t, consul), consul.HTTPAddr(0))
	must(t, consul.Client().SetIntention(ctx, "modern", "legacy", consultest.Allow))

	app := &legacyApp{}
	app.healthy.Store(true)
	app.serve(t, b)
	modern := newVM(ctx, t, a, vm{consul: consul, server: a.address, node: "vm-a"}, "modern")
	legacy := newVM(ctx, t, b, vm{consul: consul, server: a.address, node: "vm-b"}, "legacy")
	legacy.start(envoy, fmt.Sprintf(legacyDefinition, "legacy"))
	modern.start(envoy, clientDefinition)
	legacy.expectReady(ctx)
	modern.expectReady(ctx)
	expectReached := func() {
		t.Helper()
		var last string
		err := mesh.Until(ctx, func(ctx context.Context) bool {
			_, body, err := a.get(ctx, "http://127.0.0.1:9191/who")
			last = fmt.Sprint(body, err)
			return body == "legacy answers /who"
		})
		if err != nil {
			t.Fatal("legacy is not reached: ", last)
		}
	}
	expectReached()
	name, end := a.peerName(ctx, b.address+":20000")
	if !strings.HasSuffix(name, "/svc/legacy") || end == nil || errors.Is(end, os.ErrDeadlineExceeded) {
		t.Errorf("from outside of the mesh: certificate of %q, then %v", name, end)
	}

	// The mesh sees the application's health, through the proxy's checks.
	healthy := func(want int) func(context.Context) bool {
		return func(ctx context.Context) bool {
			n, err := consul.Client().HealthyInstances(ctx, "legacy-sidecar-proxy")
			return err == nil && n == want
		}
	}
	within(t, patience, "a passing proxy", healthy(1))
	app.healthy.Store(false)
	within(t, patience, "a critical proxy", healthy(0))
	app.healthy.Store(true)
	within(t, patience, "a passing proxy again", healthy(1))

	// Nobody is told of a SIGKILL.
	must(t, legacy.process.Signal(syscall.SIGKILL))
	<-legacy.process.Done()
	both := []string{"legacy", "legacy-sidecar-proxy"}
	if got := registered(ctx, t, consul, "vm-b"); !slices.Equal(got, both) {
		t.Fatalf("after SIGKILL there is %q", got)
	}
	// The next start is of a service with another ID.
	legacy.start(envoy, fmt.Sprintf(legacyDefinition, "legacy-2"))
	legacy.expectReady(ctx)
	if got := registered(ctx, t, consul, "vm-b"); !slices.Equal(got, []string{"legacy-2", "legacy-2-sidecar-proxy"}) {
		t.Errorf("after the next start there is %q", got)
	}
	expectReached()

	begun := time.Now()
	must(t, legacy.process.Signal(syscall.SIGTERM))
	select {
	case <-legacy.process.Done():
		t.Logf("an end took %s", time.Since(begun).Round(time.Millisecond))
	case <-ctx.Done():
		t.Fatal("no end")
	}
	if code := legacy.process.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := registered(ctx, t, consul, "vm-b"); got != nil {
		t.Errorf("after the end there is %q", got)
	}
	if got := registered(ctx, t, consul, "vm-a"); !slices.Equal(got, []string{"modern", "modern-sidecar-proxy"}) {
		t.Errorf("of the other machine there is %q", got)
	}
}

func mustPort(t *testing.T, consul *consultest.Cluster) int {
	t.Helper()
	var n int
	_, err := fmt.Sscan(port(t, consul.HTTPAddr(0)), &n)
	must(t, err)
	return n
}

// legacyApp is an application that knows nothing of the mesh.
type legacyApp struct{ healthy atomic.Bool }

func (a *legacyApp) serve(t *testing.T, m machine) {
	t.Helper()
	l := m.listen(t, "127.0.0.1:8080")
	server := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

func (a *legacyApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" && !a.healthy.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "legacy answers", r.URL.Path)
}

// startRegistering runs podplane in this test's own namespace with a service web,
// and gives it with the URL of its lifecycle server. The arguments say how to
// reach the servers and where to register.
func startRegistering(ctx context.Context, t *testing.T, consul *consultest.Cluster, more ...string) (*proc.Process, string) {
	t.Helper()
	envoy, err := envoybin.Find(ctx)
	must(t, err)
	block, err := ports.Reserve(4, "127.0.0.1")
	must(t, err)
	t.Cleanup(block.Release)
	file := filepath.Join(t.TempDir(), "web.json")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{"service": {"name": "web", "connect": {"sidecar_service": {"port": %d}}}}`, block.Next()), 0o600))
	graceful := fmt.Sprint(block.Next())
	args := []string{
		podplane, "-addresses", consul.Discovery(), "-grpc-port", fmt.Sprint(consul.GRPCPort()), "-service-file", file,
		"-envoy-executable-path", envoy.Path, "-envoy-admin-bind-port", fmt.Sprint(block.Next()), "-graceful-port", graceful,
		"-telemetry-prom-merge-port", fmt.Sprint(block.Next()),
	}
	process, err := proc.Start(proc.Spec{Name: "podplane", Args: append(args, more...), Env: []string{
		"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=20",
	}})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(process.Output())
		}
		_ = process.Stop(patience)
	})
	return process, "http://127.0.0.1:" + graceful
}

// expectPending waits until /ready has the words in it.
func expectPending(ctx context.Context, t *testing.T, lifecycle string, words ...string) {
	t.Helper()
	var ready string
	err := mesh.Until(ctx, func(ctx context.Context) bool {
		answer, _ := mesh.Get(ctx, lifecycle+"/ready")
		ready = answer.Body
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(ready, w) })
	})
	if err != nil {
		t.Fatalf("without %q: %s", words, ready)
	}
}

// TestSelfRegisterWithoutNodeWrite: with no more than the identity of its service
// podplane can use a node that somebody else has made, and says what it needs
// where there is none.
func TestSelfRegisterWithoutNodeWrite(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	consul := consultest.New(t, consultest.Options{ACL: true})
	client := consul.Client()
	token, err := client.CreateServiceToken(ctx, "web")
	must(t, err)
	tokenFile := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(tokenFile, []byte(token.SecretID), 0o600))
	process, lifecycle := startRegistering(ctx, t, consul, "-proxy-node-name", "made-by-hand", "-tls-disabled",
		"-consul-http-port", port(t, consul.HTTPAddr(0)), "-credential-type", "static", "-static-token-path", tokenFile)
	expectPending(ctx, t, lifecycle, "node:write", "made-by-hand")
	must(t, client.Put(ctx, "/v1/catalog/register", map[string]any{"Node": "made-by-hand", "Address": "127.0.0.1"}))
	within(t, patience, "readiness", isReady(lifecycle))
	within(t, patience, "a passing proxy", func(ctx context.Context) bool {
		n, err := client.HealthyInstances(ctx, "web-sidecar-proxy")
		return err == nil && n == 1
	})
	must(t, process.Signal(syscall.SIGTERM))
	<-process.Done()
	if got := registered(ctx, t, consul, "made-by-hand"); got == nil || len(got) > 0 {
		t.Errorf("after the end there is %q on a node that is not ours", got)
	}
}

// TestSelfRegisterOnAgentsNode: the agent of a node would remove the registration
// with its next look at the catalog.
func TestSelfRegisterOnAgentsNode(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	consul := consultest.New(t, consultest.Options{})
	const node = "server-0" // a server is an agent, too
	_, lifecycle := startRegistering(ctx, t, consul, "-proxy-node-name", node, "-tls-disabled",
		"-consul-http-port", port(t, consul.HTTPAddr(0)))
	expectPending(ctx, t, lifecycle, "a Consul agent keeps this node", "-proxy-node-name")
	if got := registered(ctx, t, consul, node); slices.Contains(got, "web") {
		t.Errorf("on the agent's node there is %q", got)
	}
}

func isReady(lifecycle string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, lifecycle+"/ready")
		return err == nil && answer.Status == http.StatusOK
	}
}

// TestSelfRegisterOverHTTPS: the HTTP API with the CA and the server name of the
// session, and with its token from a login, which outlives the removal of the
// registration and nothing else.
func TestSelfRegisterOverHTTPS(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	ca, err := consultest.NewCA("https")
	must(t, err)
	leaf, err := ca.Issue(consultest.ServerName)
	must(t, err)
	block, err := ports.Reserve(1, "127.0.0.1")
	must(t, err)
	t.Cleanup(block.Release)
	https, dir := block.Next(), t.TempDir()
	in := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	consul := consultest.New(t, consultest.Options{TLS: true, JWT: true, Config: map[string]any{
		"ports": map[string]any{"https": https},
		"tls":   map[string]any{"https": map[string]any{"cert_file": in("cert.pem", leaf.Cert), "key_file": in("key.pem", leaf.Key)}},
	}})
	client := consul.Client()
	must(t, client.Put(ctx, "/v1/catalog/register", map[string]any{"Node": "vm", "Address": "127.0.0.1"}))
	bearer, err := consul.Bearer("web", time.Hour)
	must(t, err)
	grpcCA, err := os.ReadFile(consul.CAFile())
	must(t, err)
	process, lifecycle := startRegistering(ctx, t, consul, "-proxy-node-name", "vm", "-consul-http-port", fmt.Sprint(https),
		"-ca-certs", in("ca.pem", slices.Concat(grpcCA, ca.PEM())), "-tls-server-name", consultest.ServerName,
		"-credential-type", "login", "-login-auth-method", consultest.AuthMethod, "-login-bearer-token-path", in("bearer", []byte(bearer)))
	within(t, patience, "readiness", isReady(lifecycle))
	if got := registered(ctx, t, consul, "vm"); !slices.Equal(got, []string{"web", "web-sidecar-proxy"}) {
		t.Errorf("there is %q", got)
	}
	must(t, process.Signal(syscall.SIGTERM))
	<-process.Done()
	if got := registered(ctx, t, consul, "vm"); len(got) > 0 {
		t.Errorf("after the end there is %q", got)
	}
	tokens, err := client.AuthMethodTokens(ctx, consultest.AuthMethod)
	must(t, err)
	if len(tokens) > 0 {
		t.Errorf("%d tokens are left", len(tokens))
	}
}
