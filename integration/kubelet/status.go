// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// status writes a pod's status whenever it has become another.
type status struct {
	pod   *pod
	start metav1.Time
	wake  chan struct{}
	last  chan struct{} // closed when nothing changes any more

	mu     sync.Mutex
	inited bool
	end    bool
	since  map[corev1.PodConditionType]corev1.PodCondition
}

func newStatus(p *pod) *status {
	return &status{
		pod: p, start: metav1.Now(), wake: make(chan struct{}, 1), last: make(chan struct{}),
		since: map[corev1.PodConditionType]corev1.PodCondition{},
	}
}

func (s *status) changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *status) initialized() {
	s.mu.Lock()
	s.inited = true
	s.mu.Unlock()
	s.changed()
}

func (s *status) ending() {
	s.mu.Lock()
	s.end = true
	s.mu.Unlock()
	s.changed()
}

// finish has the last status written and write come back.
func (s *status) finish() { close(s.last) }

func (s *status) write(ctx context.Context) {
	var written []byte
	for {
		final := false
		select {
		case <-s.wake:
		case <-s.last:
			final = true
		}
		current := s.compute(final)
		data, err := json.Marshal(map[string]any{"status": current})
		if err == nil && !bytes.Equal(data, written) {
			err = s.patch(ctx, data)
		}
		if err != nil {
			s.pod.kubelet.cfg.Logf("status of pod %s: %v", client.ObjectKeyFromObject(s.pod.object), err)
		} else {
			written = data
		}
		if final {
			return
		}
	}
}

// patch retries until the API server takes it, the pod is gone, or it is time to go.
func (s *status) patch(ctx context.Context, data []byte) error {
	object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: s.pod.object.Name, Namespace: s.pod.object.Namespace}}
	for {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := s.pod.kubelet.client.Status().Patch(attempt, object, client.RawPatch(types.MergePatchType, data))
		cancel()
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		select {
		case <-s.pod.killed:
			return err
		case <-ctx.Done():
			return err
		case <-time.After(restartPause):
		}
	}
}

func (s *status) phase() corev1.PodPhase { return s.compute(true).Phase }

// compute says what the pod's processes do now.
func (s *status) compute(final bool) corev1.PodStatus {
	p := s.pod
	s.mu.Lock()
	defer s.mu.Unlock()
	out := corev1.PodStatus{StartTime: &s.start, Phase: corev1.PodPending, QOSClass: p.object.Status.QOSClass}
	if p.net != nil {
		host := p.kubelet.cfg.Network.Addr().String()
		out.PodIP, out.PodIPs = p.net.Addr.String(), []corev1.PodIP{{IP: p.net.Addr.String()}}
		out.HostIP, out.HostIPs = host, []corev1.HostIP{{IP: host}}
	}
	ready, failed, running := s.inited, false, false
	for _, c := range p.init {
		state := c.status()
		out.InitContainerStatuses = append(out.InitContainerStatuses, state)
		if c.sidecar {
			ready = ready && state.Ready
		}
	}
	for _, c := range p.main {
		state := c.status()
		out.ContainerStatuses = append(out.ContainerStatuses, state)
		ready = ready && state.Ready
		running = running || state.State.Running != nil || state.RestartCount > 0 || state.State.Terminated != nil
		failed = failed || state.State.Terminated == nil || state.State.Terminated.ExitCode != 0
	}
	p.mu.Lock()
	why := p.why
	p.mu.Unlock()
	switch {
	case final && (why != "" || failed):
		out.Phase, out.Message = corev1.PodFailed, why
	case final:
		out.Phase = corev1.PodSucceeded
	case s.inited && running:
		out.Phase = corev1.PodRunning
	}
	out.Conditions = []corev1.PodCondition{
		s.condition(corev1.PodScheduled, true),
		s.condition(corev1.PodInitialized, s.inited),
		s.condition(corev1.ContainersReady, ready && !final),
		s.condition(corev1.PodReady, ready && !final),
	}
	return out
}

func (s *status) condition(kind corev1.PodConditionType, holds bool) corev1.PodCondition {
	value := corev1.ConditionFalse
	if holds {
		value = corev1.ConditionTrue
	}
	if was, ok := s.since[kind]; ok && was.Status == value {
		return was
	}
	s.since[kind] = corev1.PodCondition{Type: kind, Status: value, LastTransitionTime: metav1.Now()}
	return s.since[kind]
}

func (c *run) status() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	started := c.running && c.startOK
	out := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, RestartCount: int32(c.restarts), Started: &started,
		Ready: c.running && c.ready,
	}
	switch {
	case c.running:
		out.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.since)}
	case c.ended:
		out.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: int32(c.code), Reason: c.reason}
		out.Ready = c.init && !c.sidecar && c.code == 0
	default:
		out.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
	}
	return out
}
