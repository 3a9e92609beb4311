// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"podplane/integration/proc"
)

// hookTimeout bounds a hook that nothing else bounds.
const hookTimeout = 2 * time.Minute

// probe runs the postStart hook and then the probes, until ctx is done.
func (c *run) probe(ctx context.Context, process *proc.Process) {
	if hook := c.spec.Lifecycle; hook != nil && hook.PostStart != nil {
		hookCtx, cancel := context.WithTimeout(ctx, hookTimeout)
		err := c.handle(hookCtx, *hook.PostStart, process)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				c.note("postStart hook: %v", err)
				process.Kill()
			}
			return
		}
	}
	c.once1(c.hooked)
	if startup := c.spec.StartupProbe; startup != nil {
		if !c.every(ctx, startup, process, func(ok bool) bool { return !ok }, nil) {
			return
		}
		c.mu.Lock()
		c.startOK, c.ready = true, c.spec.ReadinessProbe == nil
		c.mu.Unlock()
		c.pod.status.changed()
	}
	c.once1(c.started)
	liveness := make(chan struct{})
	go func() {
		defer close(liveness)
		if c.spec.LivenessProbe != nil {
			c.every(ctx, c.spec.LivenessProbe, process, func(bool) bool { return true }, nil)
		}
	}()
	if c.spec.ReadinessProbe != nil {
		c.every(ctx, c.spec.ReadinessProbe, process, func(bool) bool { return true }, c.setReady)
	}
	<-liveness
}

// once1 closes a channel that may be closed already. Only the goroutine of the container's process calls it.
func (c *run) once1(channel chan struct{}) {
	if !closed(channel) {
		close(channel)
	}
}

func (c *run) setReady(ready bool) {
	c.mu.Lock()
	same := c.ready == ready
	c.ready = ready
	c.mu.Unlock()
	if !same {
		c.pod.status.changed()
	}
}

// every asks a probe, period by period, for as long as more wants it after an outcome that reached its threshold, and
// tells of outcomes. A startup or liveness probe that fails, for which tell is nil, ends the process. The result tells
// whether it came to an end by itself.
func (c *run) every(
	ctx context.Context, p *corev1.Probe, process *proc.Process, more func(ok bool) bool, tell func(ok bool),
) bool {
	if !pause(ctx, time.Duration(p.InitialDelaySeconds)*time.Second) {
		return false
	}
	good, bad := 0, 0
	for {
		if err := c.ask(ctx, p, process); err == nil {
			good, bad = good+1, 0
		} else if good, bad = 0, bad+1; ctx.Err() != nil {
			return false
		} else if bad == int(cmp.Or(p.FailureThreshold, 3)) {
			if tell == nil {
				c.note("a probe failed %d times: %v", bad, err)
				process.Kill()
				return false
			}
			tell(false)
		}
		if good >= int(cmp.Or(p.SuccessThreshold, 1)) {
			if tell != nil {
				tell(true)
			}
			if !more(true) {
				return true
			}
		}
		if !pause(ctx, time.Duration(cmp.Or(p.PeriodSeconds, 10))*time.Second) {
			return false
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (c *run) ask(ctx context.Context, p *corev1.Probe, process *proc.Process) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(cmp.Or(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	if p.GRPC != nil {
		return errors.New("gRPC probes are not played")
	}
	return c.handle(ctx, corev1.LifecycleHandler{Exec: p.Exec, HTTPGet: p.HTTPGet, TCPSocket: p.TCPSocket}, process)
}

// handle does what a probe or a hook says.
func (c *run) handle(ctx context.Context, h corev1.LifecycleHandler, process *proc.Process) error {
	switch {
	case h.Exec != nil:
		out, code, err := c.exec(ctx, process, h.Exec.Command)
		if err == nil && code != 0 {
			err = fmt.Errorf("%s ended with code %d: %s", h.Exec.Command[0], code, strings.TrimSpace(out))
		}
		return err
	case h.HTTPGet != nil:
		return c.httpGet(ctx, h.HTTPGet)
	case h.TCPSocket != nil:
		address, err := c.address(h.TCPSocket.Host, h.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	case h.Sleep != nil:
		pause(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
		return nil
	}
	return errors.New("nothing to do that is known")
}

// httpGet asks from the node, as a kubelet: the pod's loopback is not reached.
func (c *run) httpGet(ctx context.Context, get *corev1.HTTPGetAction) error {
	address, err := c.address(get.Host, get.Port)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(cmp.Or(string(get.Scheme), "http"))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+get.Path, http.NoBody)
	if err != nil {
		return err
	}
	for _, header := range get.HTTPHeaders {
		req.Header.Add(header.Name, header.Value)
	}
	resp, err := probeClient().Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("GET %s: %s", req.URL, resp.Status)
	}
	return nil
}

func (c *run) address(host string, port intstr.IntOrString) (string, error) {
	number := port.IntValue()
	if port.Type == intstr.String {
		for _, named := range c.spec.Ports {
			if named.Name == port.StrVal {
				number = int(named.ContainerPort)
			}
		}
	}
	if number <= 0 {
		return "", fmt.Errorf("container %s has no port %s", c.spec.Name, port.String())
	}
	return net.JoinHostPort(cmp.Or(host, c.pod.net.Addr.String()), strconv.Itoa(number)), nil
}
