// SPDX-License-Identifier: MPL-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/ports"
	"podplane/integration/proc"
)

// PodSpec describes a pod.
type PodSpec struct {
	// Name is that of the service.
	Name string
	// Upstreams are names of services that the application reaches through its
	// proxy, each on a port of its own: see [Pod.Upstream].
	Upstreams []string
	// Handler is the application; nil answers every request with [Greeting].
	Handler http.Handler
	// ProxyConfig is the proxy's opaque configuration in Consul.
	ProxyConfig map[string]any
	// Args are further arguments of podplane, which win over those of the mesh.
	Args []string
	// Env are further variables of its environment.
	Env []string
	// Credentials are the arguments that give podplane its token; nil logs in
	// through the cluster's auth method if it has one.
	Credentials []string
}

// Greeting is what a pod's application answers, before the path.
func Greeting(name string) string { return "this is " + name }

// Pod is an application with its dataplane.
type Pod struct {
	Service   consultest.Service
	Admin     string // Envoy's admin address, host:port
	Lifecycle string // of the lifecycle server
	Metrics   string // of the merged metrics
	mesh      *Mesh
	spec      PodSpec
	block     *ports.Block
	app       *http.Server
	appDone   chan struct{}
	upstreams map[string]int // service to local port

	mu        sync.Mutex
	dataplane *proc.Process
}

func newPod(m *Mesh, spec PodSpec, block *ports.Block) (*Pod, error) {
	p := &Pod{
		mesh: m, spec: spec, block: block,
		Admin:     loopback(block.Next()),
		Lifecycle: loopback(block.Next()),
		Metrics:   loopback(block.Next()),
		upstreams: make(map[string]int),
		appDone:   make(chan struct{}),
	}
	p.Service = consultest.Service{Name: spec.Name, ProxyPort: block.Next(), ProxyConfig: spec.ProxyConfig}
	for _, name := range spec.Upstreams {
		port := block.Next()
		p.upstreams[name] = port
		p.Service.Upstreams = append(p.Service.Upstreams, consultest.Upstream{DestinationName: name, LocalBindPort: port})
	}
	return p, p.startApp()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (p *Pod) startApp() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	tcp, _ := l.Addr().(*net.TCPAddr)
	p.Service.Port = tcp.Port
	handler := p.spec.Handler
	if handler == nil {
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s, %s\n", Greeting(p.spec.Name), r.URL.Path)
		})
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	p.app = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, Protocols: protocols}
	go func() {
		defer close(p.appDone)
		_ = p.app.Serve(l) // ends by Close
	}()
	return nil
}

// Register puts the service and its proxy into Consul's catalog.
func (p *Pod) Register(ctx context.Context) error {
	return p.mesh.Consul.Client().Register(ctx, p.Service)
}

// StartDataplane starts podplane. A pod whose dataplane has ended may be given a
// new one.
func (p *Pod) StartDataplane(_ context.Context) error {
	args, err := p.args()
	if err != nil {
		return err
	}
	env := append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.mesh.dir,
		"GORACE=atexit_sleep_ms=20", // a binary with the race detector would take a second to exit
	}, p.spec.Env...)
	process, err := proc.Start(proc.Spec{Name: "podplane of " + p.spec.Name, Args: args, Env: env})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dataplane = process
	return nil
}

// Dataplane is the podplane process.
func (p *Pod) Dataplane() *proc.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dataplane
}

// Output is what the dataplane and its Envoy have written.
func (p *Pod) Output() string {
	if dp := p.Dataplane(); dp != nil {
		return dp.Output()
	}
	return ""
}

func (p *Pod) args() ([]string, error) {
	consul := p.mesh.Consul
	args := []string{
		p.mesh.podplane,
		"-addresses", consul.Discovery(),
		"-grpc-port", strconv.Itoa(consul.GRPCPort()),
		"-proxy-id", p.Service.ProxyID(),
		"-proxy-node-name", p.Service.NodeName(),
		"-envoy-executable-path", p.mesh.Envoy.Path,
		"-envoy-admin-bind-port", port(p.Admin),
		"-graceful-port", port(p.Lifecycle),
		"-telemetry-prom-merge-port", port(p.Metrics),
		"-envoy-concurrency", "1",
	}
	if ca := consul.CAFile(); ca != "" {
		args = append(args, "-ca-certs", ca, "-tls-server-name", consultest.ServerName)
	} else {
		args = append(args, "-tls-disabled")
	}
	credentials, err := p.credentials()
	if err != nil {
		return nil, err
	}
	return append(append(args, credentials...), p.spec.Args...), nil
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func (p *Pod) credentials() ([]string, error) {
	if p.spec.Credentials != nil {
		return p.spec.Credentials, nil
	}
	if p.mesh.Consul.Token() == "" {
		return nil, nil
	}
	if err := p.WriteBearer(time.Hour); err != nil {
		return nil, err
	}
	return []string{
		"-credential-type", "login",
		"-login-auth-method", consultest.AuthMethod,
		"-login-bearer-token-path", p.BearerPath(),
	}, nil
}

// BearerPath is the file from which the pod's dataplane reads its bearer token.
func (p *Pod) BearerPath() string {
	return filepath.Join(p.mesh.dir, p.spec.Name+".bearer")
}

// WriteBearer mints a new bearer token for the pod's service and replaces the
// file, as the kubelet does.
func (p *Pod) WriteBearer(ttl time.Duration) error {
	bearer, err := p.mesh.Consul.Bearer(p.spec.Name, ttl)
	if err != nil {
		return err
	}
	next := p.BearerPath() + ".next"
	if err := os.WriteFile(next, []byte(bearer), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.BearerPath())
}

func (p *Pod) close() error {
	var err error
	if dp := p.Dataplane(); dp != nil {
		err = dp.Stop(stopTimeout)
	}
	err = errors.Join(err, p.app.Close())
	<-p.appDone
	p.block.Release()
	return err
}
