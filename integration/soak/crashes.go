// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"podplane/integration/mesh"
)

// warm is after how many crashes all that is opened once has been.
const warm = 10

// crashes has one dataplane restart its Envoy again and again.
func crashes(ctx context.Context, m *mesh.Mesh, cycles int) error {
	pod, err := m.Start(ctx, mesh.PodSpec{Name: "crashes", Args: []string{"-envoy-max-restarts", strconv.Itoa(cycles)}})
	if err != nil {
		return err
	}
	if err := pod.WaitReady(ctx); err != nil {
		return err
	}
	pid := pod.Dataplane().PID()
	began, slowest, descriptors, goroutines := time.Now(), time.Duration(0), 0, 0
	for i := range cycles {
		progress("crashes", i, cycles, began)
		if i == warm {
			if descriptors, goroutines, err = held(ctx, pod); err != nil {
				return err
			}
		}
		took, err := crash(ctx, pod)
		if err != nil {
			return fmt.Errorf("crash %d: %w", i, err)
		}
		slowest = max(slowest, took)
	}
	if err := pod.WaitReady(ctx); err != nil {
		return err
	}
	if cycles <= warm {
		return nil
	}
	// A connection that is just being closed is no leak.
	var nowDescriptors, nowGoroutines int
	settled, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	leaks := mesh.Until(settled, func(ctx context.Context) bool {
		nowDescriptors, nowGoroutines, err = held(ctx, pod)
		return err == nil && nowDescriptors <= descriptors && nowGoroutines <= goroutines
	})
	say("%d crashes in %s, live again after %s at most; descriptors: %d after %d crashes, %d at the end; goroutines: %d, %d",
		cycles, time.Since(began).Round(time.Second), slowest.Round(time.Millisecond), descriptors, warm, nowDescriptors, goroutines, nowGoroutines)
	if leaks != nil {
		return fmt.Errorf("descriptors or goroutines leak in process %d: %v", pid, descriptorsOf(pid))
	}
	return nil
}

// crash kills Envoy and waits until another one is live, and gives the time.
func crash(ctx context.Context, pod *mesh.Pod) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	before := pod.EnvoyPID(ctx)
	if before == 0 {
		return 0, fmt.Errorf("there is no envoy")
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		return 0, err
	}
	began := time.Now()
	err := mesh.Until(ctx, func(ctx context.Context) bool {
		var envoy struct {
			PID   int    `json:"pid"`
			State string `json:"state"`
		}
		return pod.Status(ctx, "envoy", &envoy) == nil && envoy.PID != before && envoy.State == "live"
	})
	return time.Since(began), err
}

// held counts what a dataplane holds: descriptors and goroutines.
func held(ctx context.Context, pod *mesh.Pod) (descriptors, goroutines int, err error) {
	answer, err := mesh.Get(ctx, "http://"+pod.Metrics+"/stats/prometheus")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(answer.Body) {
		if value, found := strings.CutPrefix(line, "podplane_go_goroutines "); found {
			goroutines, err = strconv.Atoi(strings.TrimSpace(value))
			return len(descriptorsOf(pod.Dataplane().PID())), goroutines, err
		}
	}
	return 0, 0, fmt.Errorf("the metrics do not tell of goroutines")
}
