// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"podplane/integration/mesh"
)

// script writes a program that does something around the Envoy of the mesh, whose
// path is in $ENVOY there.
func script(t *testing.T, m *mesh.Mesh, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	text := fmt.Sprintf("#!/bin/sh\nENVOY='%s'\n%s\n", m.Envoy.Path, lines)
	must(t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

// testStubbornEnvoy has Envoys that do not end when they are asked to. The pod is
// gone two seconds after the grace period all the same.
func testStubbornEnvoy(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	const period = time.Second
	for name, tc := range map[string]struct {
		args  []string
		ready bool
		spoil func(envoy int) error
	}{
		// What podplane started lives on when the Envoy in it has quit.
		"ignores quit and sigterm": {
			args: []string{
				"-envoy-executable-path", script(t, m, `trap "" TERM`+"\n"+`"$ENVOY" "$@"`+"\n"+`while :; do sleep 1; done`),
				"-xds-bind-addr", "127.0.0.1", // over TCP the peer need not be the process itself
			},
			ready: true,
		},
		"is stopped": {
			ready: true,
			spoil: func(envoy int) error { return syscall.Kill(envoy, syscall.SIGSTOP) },
		},
		"has its admin interface elsewhere": {
			args: []string{"--", "--config-yaml", `{"admin":{"address":{"socket_address":{"address":"127.0.0.3","port_value":0}}}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := bounded(t)
			id := "stubborn-" + strings.ReplaceAll(name, " ", "-")
			pod, err := m.Start(ctx, mesh.PodSpec{Name: id, Args: grace(period, tc.args...), Env: []string{mark(id)}})
			must(t, err)
			if tc.ready {
				must(t, pod.WaitReady(ctx))
			} else {
				expectLine(t, pod, "envoy started")
			}
			envoy := pod.EnvoyPID(ctx)
			if tc.spoil != nil {
				must(t, tc.spoil(envoy))
			}
			began := time.Now()
			must(t, pod.Dataplane().Signal(syscall.SIGTERM))
			expectEnd(t, pod, envoy, began, 0, period+2*time.Second)
			expectNothingLeft(t, mark(id))
		})
	}
}

// testCrashes kills Envoy again and again while requests flow, until podplane has
// had enough.
func testCrashes(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	const restarts = 20
	ctx, cancel := context.WithTimeout(t.Context(), restarts*patience)
	defer cancel()
	pod := startReady(ctx, t, m, mesh.PodSpec{Name: "crashing", Args: []string{"-envoy-max-restarts", fmt.Sprint(restarts)}})
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		answered := 0
		for {
			select {
			case <-stop:
				stopped <- answered
				return
			default:
			}
			// It fails while there is no Envoy.
			if answer, err := pod.Call(ctx, "backend", "/"); err == nil && answer.Status == http.StatusOK {
				answered++
			}
		}
	}()
	slowest := time.Duration(0)
	for i := range restarts {
		pid := pod.EnvoyPID(ctx)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		began := time.Now()
		within(t, time.Second, fmt.Sprintf("envoy is live again, time %d", i+1), liveAgain(pod, pid))
		took := time.Since(began)
		t.Logf("live again after %s", took.Round(time.Millisecond))
		slowest = max(slowest, took)
	}
	expectAnswer(ctx, t, pod, "backend")
	close(stop)
	t.Logf("live again after %s at most; %d requests were answered", slowest.Round(time.Millisecond), <-stopped)
	last := pod.EnvoyPID(ctx)
	must(t, syscall.Kill(last, syscall.SIGKILL))
	expectRefusal(t, pod, 137, "killed by SIGKILL", fmt.Sprintf("%d restarts", restarts))
	expectNoProcess(t, last)
}

// liveAgain tells whether another Envoy than the one with this PID is live.
func liveAgain(pod *mesh.Pod, pid int) func(context.Context) bool {
	return func(ctx context.Context) bool {
		var envoy struct {
			PID   int    `json:"pid"`
			State string `json:"state"`
		}
		return pod.Status(ctx, "envoy", &envoy) == nil && envoy.PID != pid && envoy.State == "live"
	}
}

// testSignalDuringTheStart sends SIGTERM to a podplane that waits for something.
func testSignalDuringTheStart(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	for name, tc := range map[string]struct {
		spec         mesh.PodSpec
		unregistered bool
		waitFor      string
		envoy        bool
	}{
		"before a server answers": {
			spec: mesh.PodSpec{Args: []string{"-grpc-port", "1"}}, waitFor: "refused",
		},
		"before the bootstrap": {
			unregistered: true, waitFor: "waiting for the proxy to be registered",
		},
		"before envoy is live": {
			spec:    mesh.PodSpec{Args: []string{"-envoy-executable-path", script(t, m, `sleep 1000; exec "$ENVOY" "$@"`)}},
			waitFor: "envoy started", envoy: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := bounded(t)
			tc.spec.Name = "early-" + strings.ReplaceAll(name, " ", "-")
			tc.spec.Env = []string{mark(tc.spec.Name)}
			tc.spec.Args = append(grace(30*time.Second), tc.spec.Args...)
			pod, err := m.Prepare(tc.spec)
			must(t, err)
			if !tc.unregistered {
				must(t, pod.Register(ctx))
			}
			must(t, pod.StartDataplane(ctx))
			expectLine(t, pod, tc.waitFor)
			envoy := pod.EnvoyPID(ctx)
			if (envoy != 0) != tc.envoy {
				t.Errorf("the process of envoy is %d", envoy)
			}
			began := time.Now()
			must(t, pod.Dataplane().Signal(syscall.SIGTERM))
			if expectExit(t, pod, 0); late(t, time.Since(began), time.Second) {
				t.Errorf("it took %s", time.Since(began))
			}
			expectNothingLeft(t, mark(tc.spec.Name))
		})
	}
	t.Run("at any time", func(t *testing.T) { testSignalAtAnyTime(t, m) })
}

// testSignalAtAnyTime goes through the start in small steps, for the moments that
// have no name.
func testSignalAtAnyTime(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx := bounded(t)
	pod, err := m.Prepare(mesh.PodSpec{Name: "early", Args: grace(0), Env: []string{mark("early")}})
	must(t, err, pod.Register(ctx))
	for _, ms := range []int{0, 10, 20, 40, 80, 120, 160, 200, 250, 300, 400, 600} {
		after := time.Duration(ms) * time.Millisecond
		must(t, pod.StartDataplane(ctx))
		expectLine(t, pod, "starting: version")
		<-time.After(after)
		began := time.Now()
		must(t, pod.Dataplane().Signal(syscall.SIGTERM))
		if expectExit(t, pod, 0); late(t, time.Since(began), time.Second) {
			t.Errorf("a SIGTERM after %s took %s", after, time.Since(began))
		}
		expectNothingLeft(t, mark("early"))
	}
}

// mark is a variable that a pod's processes inherit, by which expectNothingLeft
// knows them.
func mark(name string) string { return fmt.Sprintf("PODPLANE_TEST_MARK=%s of %d", name, os.Getpid()) }

// expectNothingLeft checks that no process with the mark is there. Zombies have no
// environment any more.
func expectNothingLeft(t *testing.T, mark string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	must(t, err)
	for _, path := range all {
		if environ, err := os.ReadFile(path); err == nil && slices.Contains(strings.Split(string(environ), "\x00"), mark) {
			t.Errorf("%s is left behind", filepath.Dir(path))
		}
	}
}

// testKilled ends podplane in the one way that it cannot do anything about.
func testKilled(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx := bounded(t)
	pod, err := m.Start(ctx, mesh.PodSpec{Name: "killed"})
	must(t, err, pod.WaitReady(ctx))
	envoy := pod.EnvoyPID(ctx)
	must(t, pod.Dataplane().Signal(syscall.SIGKILL))
	within(t, time.Second, "envoy is gone", func(context.Context) bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", envoy))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
