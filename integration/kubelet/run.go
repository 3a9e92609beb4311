// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"podplane/integration/proc"
)

const (
	// restartPause is the first pause before a restart; each is twice the one before, up to maxRestartPause. A kubelet
	// begins with 10 s (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy); nobody would
	// learn from that wait.
	restartPause    = time.Second
	maxRestartPause = 30 * time.Second
	// lookEvery is the pause between two looks at what nobody announces.
	lookEvery = 5 * time.Millisecond
	// killedBySignal is the exit code that is shown for a process that SIGKILL ended.
	killedBySignal = 137
)

// run is one container of a pod over all its restarts.
type run struct {
	pod     *pod
	spec    *corev1.Container
	sidecar bool // an init container with restartPolicy Always
	init    bool

	// started is closed when it has started, as its startup probe says; hooked when its postStart hook has come back;
	// done when it has ended for good. All for the first time.
	started, hooked, done chan struct{}
	// stopping is closed when it is not to be started again.
	stopping chan struct{}

	mu       sync.Mutex
	process  *proc.Process
	running  bool
	ready    bool // by the readiness probe
	startOK  bool // by the startup probe
	code     int  // of the last end
	ended    bool // at least once
	restarts int
	reason   string
	earlier  strings.Builder // output of earlier processes
	since    time.Time
	begun    bool
}

func newRun(p *pod, spec *corev1.Container, sidecar bool) *run {
	return &run{
		pod: p, spec: spec, sidecar: sidecar,
		started: make(chan struct{}), hooked: make(chan struct{}), done: make(chan struct{}),
		stopping: make(chan struct{}),
	}
}

// start starts the container for as long as its policy says, and comes back at once.
func (c *run) start(ctx context.Context) {
	c.mu.Lock()
	c.begun = true
	c.mu.Unlock()
	c.pod.kubelet.wg.Go(func() {
		defer close(c.done)
		for pause := restartPause; ; pause = min(2*pause, maxRestartPause) {
			code, err := c.once(ctx)
			c.finished(code, err)
			if !c.again(code) {
				return
			}
			select {
			case <-c.stopping:
				return
			case <-time.After(pause):
			}
			c.mu.Lock()
			c.restarts++
			c.mu.Unlock()
		}
	})
}

// again tells whether the container's policy wants it started once more.
func (c *run) again(code int) bool {
	if closed(c.stopping) {
		return false
	}
	policy := c.pod.object.Spec.RestartPolicy
	switch {
	case c.sidecar:
		return true
	case policy == corev1.RestartPolicyNever:
		return false
	case policy == corev1.RestartPolicyAlways && !c.init:
		return true
	default:
		return code != 0
	}
}

func (c *run) finished(code int, err error) {
	c.mu.Lock()
	c.running, c.ready, c.startOK, c.ended, c.code = false, false, false, true, code
	c.reason = "Completed"
	if code != 0 {
		c.reason = "Error"
	}
	if err != nil {
		c.reason = "RunContainerError"
		fmt.Fprintln(&c.earlier, err)
	}
	if c.process != nil {
		c.earlier.WriteString(c.process.Output())
		c.process = nil
	}
	c.mu.Unlock()
	c.pod.status.changed()
}

// once runs the container's process to its end.
func (c *run) once(ctx context.Context) (int, error) {
	flag, spec, err := c.prepare(ctx)
	if err != nil {
		return 128, err
	}
	process, err := proc.Start(proc.Spec{
		Name: c.pod.object.Name + "/" + c.spec.Name, Args: []string{c.pod.kubelet.cfg.Box, "run", spec},
		Namespaces: namespaces,
	})
	if err != nil {
		return 128, err
	}
	c.mu.Lock()
	c.process = process
	c.mu.Unlock()
	if !executed(process, flag) {
		return exitCode(process), nil
	}
	c.mu.Lock()
	c.running, c.since = true, time.Now()
	c.startOK = c.spec.StartupProbe == nil
	c.ready = c.startOK && c.spec.ReadinessProbe == nil
	c.mu.Unlock()
	c.pod.status.changed()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { c.probe(ctx, process) })
	select {
	case <-process.Done():
	case <-c.pod.killed:
		process.Kill()
	}
	return exitCode(process), nil
}

// executed waits until the container's program runs; false means that it could not be started.
func executed(process *proc.Process, flag string) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(flag); err == nil && len(data) > 0 {
			return true
		}
		select {
		case <-process.Done():
			data, err := os.ReadFile(flag) // it may have been quick
			return err == nil && len(data) > 0
		case <-tick.C:
		}
	}
}

func exitCode(process *proc.Process) int {
	if code := process.ExitCode(); code >= 0 {
		return code
	}
	return killedBySignal
}

// current gives the process that runs, or nil.
func (c *run) current() *proc.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		return nil
	}
	return c.process
}

// stop ends the container: its preStop hook, SIGTERM, and SIGKILL at the deadline.
func (c *run) stop(ctx context.Context, deadline time.Time) {
	close(c.stopping)
	c.mu.Lock()
	begun, process := c.begun, c.process
	c.mu.Unlock()
	if !begun {
		return
	}
	if process != nil && !closed(c.done) {
		c.terminate(ctx, process, deadline)
	}
	<-c.done
}

func (c *run) terminate(ctx context.Context, process *proc.Process, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if hook := c.spec.Lifecycle; hook != nil && hook.PreStop != nil {
		if err := c.handle(ctx, *hook.PreStop, process); err != nil {
			c.note("preStop hook: %v", err)
		}
	}
	signal := syscall.SIGTERM
	if err := process.Signal(signal); err != nil {
		c.note("SIGTERM: %v", err)
	}
	select {
	case <-process.Done():
	case <-c.pod.killed:
		process.Kill()
	case <-ctx.Done():
		c.note("it had not ended at the end of its grace period")
		process.Kill()
	}
}

// note puts a line of the kubelet's own into the container's output.
func (c *run) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.earlier, "[kubelet: "+format+"]\n", args...)
}

func (c *run) exitCode() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code
}

func (c *run) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return c.earlier.String()
	}
	return c.earlier.String() + c.process.Output()
}
