// SPDX-License-Identifier: MPL-2.0

package mesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/envoybin"
	"podplane/integration/ports"
	"podplane/integration/servers"
)

// portsPerPod is how many ports one pod may use.
const portsPerPod = 16

// stopTimeout is how long a pod's dataplane may take to end after SIGTERM, when
// the mesh is closed.
const stopTimeout = 10 * time.Second

// Mesh is a set of pods around one Consul cluster.
type Mesh struct {
	Consul   *consultest.Cluster
	Envoy    envoybin.Envoy
	podplane string
	dir      string

	mu   sync.Mutex
	pods []*Pod
}

// New prepares a mesh with the Envoy that there is; it starts nothing. podplane is the path of the binary.
func New(ctx context.Context, consul *consultest.Cluster, podplane string) (*Mesh, error) {
	envoy, err := envoybin.Find(ctx)
	if err != nil {
		return nil, err
	}
	return NewWith(envoy, consul, podplane)
}

// NewWith prepares a mesh with an Envoy that was found before, for a caller that has no time to build one.
func NewWith(envoy envoybin.Envoy, consul *consultest.Cluster, podplane string) (*Mesh, error) {
	dir, err := os.MkdirTemp("", "podplane-mesh-")
	if err != nil {
		return nil, err
	}
	return &Mesh{Consul: consul, Envoy: envoy, podplane: podplane, dir: dir}, nil
}

// Build builds podplane, as `make build` does or with the race detector, and
// gives the binary's path. It is kept in the folder.
func Build(ctx context.Context, dir string, race bool) (string, error) {
	root, err := servers.ModuleDir(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "podplane")
	args := []string{"build", "-tags", "hashicorpmetrics,grpcnotrace,nethttpomithttp2", "-o", path}
	if race {
		args = append(args, "-race")
	}
	return path, goBuild(ctx, root, append(args, "./cmd/podplane"), race)
}

// Close ends all pods and removes what the mesh has written.
func (m *Mesh) Close() error {
	m.mu.Lock()
	pods := m.pods
	m.pods = nil
	m.mu.Unlock()
	errs := make([]error, len(pods)+1)
	var wg sync.WaitGroup
	for i, pod := range pods {
		wg.Go(func() { errs[i] = pod.close() })
	}
	wg.Wait()
	errs[len(pods)] = os.RemoveAll(m.dir)
	return errors.Join(errs...)
}

// Start registers a service and starts its pod. It does not wait until the pod
// is ready.
func (m *Mesh) Start(ctx context.Context, spec PodSpec) (*Pod, error) {
	pod, err := m.Prepare(spec)
	if err != nil {
		return nil, err
	}
	if err := pod.Register(ctx); err != nil {
		return nil, err
	}
	return pod, pod.StartDataplane(ctx)
}

// Prepare reserves a pod's ports and starts its application, nothing else.
func (m *Mesh) Prepare(spec PodSpec) (*Pod, error) {
	block, err := ports.Reserve(portsPerPod, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	pod, err := newPod(m, spec, block)
	if err != nil {
		block.Release()
		return nil, fmt.Errorf("pod %s: %w", spec.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pods = append(m.pods, pod)
	return pod, nil
}

// Output gives the output of every dataplane, for the report of a failure.
func (m *Mesh) Output() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out strings.Builder
	for _, pod := range m.pods {
		fmt.Fprintf(&out, "--- %s ---\n%s\n", pod.Service.Name, pod.Output())
	}
	return out.String()
}
