// SPDX-License-Identifier: MPL-2.0

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNotBuilt is wrapped by [Server.Find] when the server has not been built yet.
var ErrNotBuilt = errors.New("not built, run `make test-servers`")

// Server is one test server that can be built from the Go module proxy.
type Server struct {
	// Name is the name of the program.
	Name string
	// Folder is the folder below integration/servers that holds its module; empty means Name.
	Folder string
	// Version is the version that the module's go.mod requires; it is part of the binary's name.
	Version string
	// Package is the import path of its main package.
	Package string
	// Tags are build tags, comma separated.
	Tags string
	// LinkerFlags go to the linker besides those that strip the binary.
	LinkerFlags string
	// Env names an environment variable that may point at a binary to use instead.
	Env string
	// BuildTime is about how long a build takes on two idle cores with an empty build cache,
	// downloads included.
	BuildTime time.Duration
}

// Consul is the Consul server. It is under the Business Source License: a tool for tests, never linked
// into the product and never shipped.
func Consul() Server {
	return Server{
		Name:      "consul",
		Version:   "1.22.7",
		Package:   "github.com/hashicorp/consul",
		Env:       "PODPLANE_TEST_CONSUL",
		BuildTime: 6 * time.Minute,
	}
}

// Prometheus is the Prometheus server, which scrapes as in production. It is built without service discovery, which
// is most of what it depends on.
func Prometheus() Server {
	return Server{
		Name:      "prometheus",
		Version:   "0.315.0", // of the Go module; the program is 3.15.0
		Package:   "github.com/prometheus/prometheus/cmd/prometheus",
		Tags:      "remove_all_sd",
		Env:       "PODPLANE_TEST_PROMETHEUS",
		BuildTime: 3 * time.Minute,
	}
}

// Promtool is the judge of expositions and rules that comes with Prometheus.
func Promtool() Server {
	s := Prometheus()
	s.Name, s.Folder, s.Env, s.BuildTime = "promtool", s.Name, "PODPLANE_TEST_PROMTOOL", time.Minute
	s.Package = "github.com/prometheus/prometheus/cmd/promtool"
	return s
}

// etcd, kube-apiserver and kube-controller-manager together are a Kubernetes without nodes, see kubetest.

// Etcd is where kube-apiserver keeps its objects.
func Etcd() Server {
	return Server{
		Name:      "etcd",
		Version:   "3.6.16",
		Package:   "go.etcd.io/etcd/server/v3",
		Env:       "PODPLANE_TEST_ETCD",
		BuildTime: 90 * time.Second,
	}
}

// KubeAPIServer is Kubernetes' API server.
func KubeAPIServer() Server {
	return Server{
		Name:    "kube-apiserver",
		Folder:  "kubernetes",
		Version: "1.36.3",
		Package: "k8s.io/kubernetes/cmd/kube-apiserver",
		// Without them it says that it is v0.0.0, and whoever asks for its version would be misled.
		LinkerFlags: "-X k8s.io/component-base/version.gitVersion=v1.36.3" +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
		Env:       "PODPLANE_TEST_KUBE_APISERVER",
		BuildTime: 8 * time.Minute,
	}
}

// KubeControllerManager makes pods of Deployments and Jobs, EndpointSlices of Services, and default ServiceAccounts.
func KubeControllerManager() Server {
	s := KubeAPIServer()
	s.Name, s.Env, s.BuildTime = "kube-controller-manager", "PODPLANE_TEST_KUBE_CONTROLLER_MANAGER", 2*time.Minute
	s.Package = "k8s.io/kubernetes/cmd/kube-controller-manager"
	return s
}

// All returns every server, in the order in which they are built.
func All() []Server {
	return []Server{Consul(), Prometheus(), Promtool(), Etcd(), KubeAPIServer(), KubeControllerManager()}
}

func (s Server) folder() string {
	if s.Folder != "" {
		return s.Folder
	}
	return s.Name
}

// CacheDir returns the folder for everything that is built outside the tree:
// $XDG_CACHE_HOME/podplane, or $HOME/.cache/podplane. It makes the folder if there is none.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	dir := filepath.Join(base, "podplane")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	return dir, nil
}

// ModuleDir returns the root folder of the product's module, for a caller that runs somewhere inside it,
// as tests and `go run` do.
func ModuleDir(ctx context.Context) (string, error) {
	out, err := Go(ctx, "", "list", "-m", "-f", "{{.Dir}}", "podplane")
	if err != nil {
		return "", fmt.Errorf("find module folder: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Go runs the go command without cgo in dir (empty: the current folder) and returns its standard output.
// The error carries what it said on standard error, which the exit status alone does not tell.
func Go(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return out, nil
}

// Find returns the path of the server's binary: what its environment variable names, else the one in
// the cache. Where there is none the error wraps [ErrNotBuilt].
func (s Server) Find() (string, error) {
	if path := os.Getenv(s.Env); path != "" {
		return path, nil
	}
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	path := s.binary(dir)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s %s: %w", s.Name, s.Version, ErrNotBuilt)
	}
	return path, nil
}

func (s Server) binary(cache string) string {
	return filepath.Join(cache, s.Name+"-"+s.Version)
}
