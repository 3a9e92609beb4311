// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"podplane/integration/proc"
)

// requestTimeout bounds a request to the API server.
const requestTimeout = 10 * time.Second

// errNotThere says that a pod or container does not run.
var errNotThere = errors.New("does not run")

// probeClient takes every certificate, as a kubelet does, and keeps no connection.
func probeClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exec runs a command in the container and gives its output and exit code.
func (c *run) exec(ctx context.Context, process *proc.Process, command []string) (string, int, error) {
	if len(command) == 0 {
		return "", 0, errors.New("no command")
	}
	spec, err := c.container(ctx)
	if err != nil {
		return "", 0, err
	}
	spec.Target, spec.Args = process.PID(), command
	path := filepath.Join(c.pod.dir, fmt.Sprintf("exec-%s-%d.json", c.spec.Name, c.pod.execs.Add(1)))
	if err := writeSpec(path, spec); err != nil {
		return "", 0, err
	}
	defer func() { _ = os.Remove(path) }()
	child, err := proc.Start(proc.Spec{Name: command[0], Args: []string{c.pod.kubelet.cfg.Box, "exec", path}})
	if err != nil {
		return "", 0, err
	}
	select {
	case <-child.Done():
		return child.Output(), exitCode(child), nil
	case <-ctx.Done():
		child.Kill()
		return child.Output(), 0, fmt.Errorf("%s: %w: %s", command[0], ctx.Err(), strings.TrimSpace(child.Output()))
	}
}

// container finds a container that runs.
func (k *Kubelet) container(pod types.NamespacedName, name string) (*run, *proc.Process, error) {
	p := k.find(pod)
	if p == nil {
		return nil, nil, fmt.Errorf("pod %s %w", pod, errNotThere)
	}
	i := slices.IndexFunc(p.runs(), func(c *run) bool { return c.spec.Name == name })
	if i < 0 {
		return nil, nil, fmt.Errorf("pod %s has no container %s", pod, name)
	}
	c := p.runs()[i]
	process := c.current()
	if process == nil {
		return nil, nil, fmt.Errorf("container %s of pod %s %w", name, pod, errNotThere)
	}
	return c, process, nil
}

// Exec runs a command in a container, as `kubectl exec`, and gives its output and exit code.
func (k *Kubelet) Exec(ctx context.Context, pod types.NamespacedName, name string, command ...string) (string, int, error) {
	c, process, err := k.container(pod, name)
	if err != nil {
		return "", 0, err
	}
	return c.exec(ctx, process, command)
}

// Kill sends a signal to a container's first process. SIGKILL ends the whole container, as a crash.
func (k *Kubelet) Kill(pod types.NamespacedName, name string, signal syscall.Signal) error {
	_, process, err := k.container(pod, name)
	if err != nil {
		return err
	}
	return process.Signal(signal)
}

// Dial connects as a program in the pod would.
func (k *Kubelet) Dial(pod types.NamespacedName) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		p := k.find(pod)
		if p == nil || p.net == nil {
			return nil, fmt.Errorf("pod %s %w", pod, errNotThere)
		}
		return p.net.DialContext(ctx, network, address)
	}
}

// Output is what the containers of a pod have written, running or gone.
func (k *Kubelet) Output(pod types.NamespacedName) string {
	if p := k.find(pod); p != nil {
		return p.output()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ended[pod]
}

// Outputs is what the containers of all pods of a namespace have written.
func (k *Kubelet) Outputs(namespace string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out strings.Builder
	for _, p := range k.pods {
		if p.object.Namespace == namespace {
			out.WriteString(p.output())
		}
	}
	for key, text := range k.ended {
		if key.Namespace == namespace {
			out.WriteString(text)
		}
	}
	return out.String()
}
