// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/netns"
)

// pod is one pod's run.
type pod struct {
	kubelet *Kubelet
	object  *corev1.Pod
	dir     string
	net     *netns.Namespace
	volumes map[string]string // folder by the volume's name

	execs atomic.Int64 // numbers commands

	init, main []*run
	status     *status

	// deleted is closed when the pod is to go, killed when it is to go at once.
	deleted, killed chan struct{}

	mu    sync.Mutex
	grace time.Duration // valid once deleted is closed
	why   string        // why it cannot run
}

func newPod(k *Kubelet, object *corev1.Pod) *pod {
	p := &pod{
		kubelet: k, object: object, dir: k.dir(object),
		deleted: make(chan struct{}), killed: make(chan struct{}),
	}
	for i := range object.Spec.InitContainers {
		spec := &object.Spec.InitContainers[i]
		always := spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
		c := newRun(p, spec, always)
		c.init = true
		p.init = append(p.init, c)
	}
	for i := range object.Spec.Containers {
		p.main = append(p.main, newRun(p, &object.Spec.Containers[i], false))
	}
	p.status = newStatus(p)
	return p
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// delete lets the pod end with what grace it has.
func (p *pod) delete(now *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if closed(p.deleted) {
		return
	}
	if seconds := now.DeletionGracePeriodSeconds; seconds != nil {
		p.grace = time.Duration(*seconds) * time.Second
	}
	close(p.deleted)
}

// kill ends the pod without grace.
func (p *pod) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !closed(p.killed) {
		close(p.killed)
	}
	if !closed(p.deleted) {
		close(p.deleted)
	}
}

// run goes through the pod's life. ctx is for requests, not for the pod.
func (p *pod) run(ctx context.Context) {
	logf := p.kubelet.cfg.Logf
	name := client.ObjectKeyFromObject(p.object)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { p.status.write(ctx) })
	start := time.Now()
	if err := p.setUp(ctx); err != nil {
		logf("pod %s cannot run: %v", name, err)
		p.fail("cannot run: " + err.Error())
	} else if err := p.live(ctx); err != nil {
		logf("pod %s: %v", name, err)
		p.fail(err.Error())
	}
	p.end(ctx)
	p.status.finish()
	wg.Wait()
	if err := p.cleanUp(); err != nil {
		logf("pod %s: %v", name, err)
	}
	if closed(p.deleted) && !closed(p.killed) {
		p.kubelet.forget(ctx, p.object)
	}
	logf("pod %s ended after %s: %s", name, time.Since(start).Round(time.Millisecond), p.status.phase())
}

func (p *pod) fail(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why = why
}

func (p *pod) setUp(ctx context.Context) (err error) {
	if p.object.Spec.HostNetwork || p.object.Spec.HostPID {
		return errors.New("the node's network and processes are not for pods here")
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	if p.net, err = p.kubelet.cfg.Network.New(); err != nil {
		return err
	}
	if p.volumes, err = p.makeVolumes(ctx); err != nil {
		return err
	}
	p.status.changed() // the address is known now
	return nil
}

func (p *pod) cleanUp() error {
	var errs []error
	if p.net != nil {
		errs = append(errs, p.net.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// live starts everything in order, and returns when the pod is to end: all main containers have ended, or it is deleted.
func (p *pod) live(ctx context.Context) error {
	for _, c := range p.init {
		if err := p.startInit(ctx, c); err != nil {
			return err
		}
		if closed(p.deleted) {
			return nil
		}
	}
	p.status.initialized()
	for _, c := range p.main {
		c.start(ctx)
		// As a kubelet, which starts the next one when this one's postStart hook has come back.
		if !wait(p.deleted, c.hooked, c.done) {
			return nil
		}
	}
	for _, c := range p.main {
		if !wait(p.deleted, c.done) {
			return nil
		}
	}
	return nil
}

// wait waits for the first of the channels; false means that stop was it.
func wait(stop chan struct{}, others ...chan struct{}) bool {
	never := make(chan struct{})
	a, b := never, never
	if len(others) > 0 {
		a = others[0]
	}
	if len(others) > 1 {
		b = others[1]
	}
	select {
	case <-stop:
		return false
	case <-a:
	case <-b:
	}
	return true
}

// startInit runs one init container to its end, or a sidecar until it has started.
func (p *pod) startInit(ctx context.Context, c *run) error {
	c.start(ctx)
	if c.sidecar {
		wait(p.deleted, c.started, c.done)
		return nil
	}
	if wait(p.deleted, c.done) && c.exitCode() != 0 {
		return fmt.Errorf("init container %s ended with code %d", c.spec.Name, c.exitCode())
	}
	return nil
}

// end ends what runs: main containers together, then sidecars in reverse order, within one grace period.
func (p *pod) end(ctx context.Context) {
	p.mu.Lock()
	grace := p.grace
	p.mu.Unlock()
	if !closed(p.deleted) {
		grace = time.Duration(*p.object.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	deadline := time.Now().Add(grace)
	p.status.ending()
	var wg sync.WaitGroup
	for _, c := range p.main {
		wg.Go(func() { c.stop(ctx, deadline) })
	}
	wg.Wait()
	for _, c := range slices.Backward(p.init) {
		c.stop(ctx, deadline)
	}
}

func (p *pod) runs() []*run { return append(slices.Clone(p.init), p.main...) }

// output is what all containers have written.
func (p *pod) output() string {
	var out strings.Builder
	for _, c := range p.runs() {
		fmt.Fprintf(&out, "--- %s/%s %s ---\n%s\n", p.object.Namespace, p.object.Name, c.spec.Name, c.output())
	}
	return out.String()
}
