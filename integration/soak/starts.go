// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"podplane/integration/mesh"
)

// way is one way in which a pod's life goes.
type way struct {
	name string
	// life begins after the start and returns when the dataplane has been told to
	// end, or has been ended.
	life func(ctx context.Context, pod *mesh.Pod, cycle int) error
	code int
	// keepsToken: nobody is left to log out.
	keepsToken bool
}

func ways() []way {
	return []way{
		{name: "graceful shutdown over HTTP", life: func(ctx context.Context, pod *mesh.Pod, _ int) error {
			if err := pod.WaitReady(ctx); err != nil {
				return err
			}
			answer, err := mesh.Post(ctx, "http://"+pod.Lifecycle+"/graceful_shutdown")
			if err == nil && answer.Status != http.StatusOK {
				err = fmt.Errorf("the answer is %v", answer)
			}
			return err
		}},
		{name: "SIGTERM", life: func(ctx context.Context, pod *mesh.Pod, _ int) error {
			if err := pod.WaitReady(ctx); err != nil {
				return err
			}
			return pod.Dataplane().Signal(syscall.SIGTERM)
		}},
		{name: "SIGTERM during the start", life: func(ctx context.Context, pod *mesh.Pod, cycle int) error {
			if err := listening(ctx, pod); err != nil {
				return err
			}
			// Another moment each time, up to about when Envoy is live.
			select {
			case <-time.After(time.Duration(cycle%40) * 10 * time.Millisecond):
			case <-ctx.Done():
			}
			return pod.Dataplane().Signal(syscall.SIGTERM)
		}},
		{name: "a crash, then SIGTERM", life: func(ctx context.Context, pod *mesh.Pod, _ int) error {
			if err := pod.WaitReady(ctx); err != nil {
				return err
			}
			if _, err := crash(ctx, pod); err != nil {
				return err
			}
			return pod.Dataplane().Signal(syscall.SIGTERM)
		}},
		{name: "SIGKILL", code: -1, keepsToken: true, life: func(ctx context.Context, pod *mesh.Pod, _ int) error {
			if err := pod.WaitReady(ctx); err != nil {
				return err
			}
			return pod.Dataplane().Signal(syscall.SIGKILL)
		}},
	}
}

// listening waits until the dataplane catches signals, which it does before it
// serves anything.
func listening(ctx context.Context, pod *mesh.Pod) error {
	return mesh.Until(ctx, func(ctx context.Context) bool {
		_, err := mesh.Get(ctx, "http://"+pod.Lifecycle+"/live")
		return err == nil
	})
}

// starts runs a dataplane of one pod again and again.
func starts(ctx context.Context, m *mesh.Mesh, cycles int) error {
	pod, err := m.Prepare(mesh.PodSpec{
		Name: "soak", Env: []string{mark()}, Args: []string{"-shutdown-grace-period-seconds", "0"},
	})
	if err != nil {
		return err
	}
	if err := pod.Register(ctx); err != nil {
		return err
	}
	tokensBefore, err := tokens(ctx, m)
	if err != nil {
		return err
	}
	began, kept, descriptors := time.Now(), 0, 0
	all := ways()
	for i := range cycles {
		progress("starts and stops", i, cycles, began)
		if i == len(all) { // whatever is opened once has been
			descriptors = len(descriptorsOf(selfPID))
		}
		w := all[i%len(all)]
		if err := cycle(ctx, pod, w, i); err != nil {
			return fmt.Errorf("cycle %d, %s: %w", i, w.name, err)
		}
		if w.keepsToken {
			kept++
		}
	}
	tokensAfter, err := tokens(ctx, m)
	if err != nil {
		return err
	}
	say("%d starts and stops in %s; ACL tokens: %d before, %d after, of which %d are of dataplanes that were killed",
		cycles, time.Since(began).Round(time.Second), tokensBefore, tokensAfter, kept)
	if tokensAfter-tokensBefore > kept {
		return fmt.Errorf("%d tokens were not logged out", tokensAfter-tokensBefore-kept)
	}
	if cycles <= len(all) {
		return nil
	}
	// A connection that is just being closed is no leak.
	settled, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if mesh.Until(settled, func(context.Context) bool { return len(descriptorsOf(selfPID)) <= descriptors }) != nil {
		return fmt.Errorf("this program had %d descriptors after %d cycles and has now %q", descriptors, len(all), descriptorsOf(selfPID))
	}
	return nil
}

// cycle is one start and stop.
func cycle(ctx context.Context, pod *mesh.Pod, w way, number int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := pod.StartDataplane(ctx); err != nil {
		return err
	}
	if err := w.life(ctx, pod, number); err != nil {
		return err
	}
	told := time.Now()
	select {
	case <-pod.Dataplane().Done():
	case <-ctx.Done():
		return fmt.Errorf("the dataplane does not end: %w", ctx.Err())
	}
	if took := time.Since(told); took > 2*time.Second {
		return fmt.Errorf("the end took %s", took)
	}
	if code := pod.Dataplane().ExitCode(); code != w.code {
		return fmt.Errorf("exit code %d, not %d", code, w.code)
	}
	// The kernel ends an Envoy whose podplane was killed; that takes a moment.
	if mesh.Until(ctx, func(context.Context) bool { return len(marked()) == 0 }) != nil {
		return fmt.Errorf("left behind: %v", marked())
	}
	return nil
}
