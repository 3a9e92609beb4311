// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/pace"
)

// requestTimeout bounds one request between pods.
const requestTimeout = 10 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newNamespace makes a namespace for a test. What its pods wrote, and the companion, is logged if the test fails.
func newNamespace(t *testing.T, prefix string, labels map[string]string) string {
	t.Helper()
	namespace, err := cluster.NewNamespace(bounded(t), prefix, labels)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.Failed() {
			t.Logf("%s\n%s\n%s", describe(ctx, namespace), node.Outputs(namespace), said(namespace))
			t.Logf("%s\n%s\n%s", describe(ctx, systemNamespace), tail(node.Outputs(systemNamespace)), said(systemNamespace))
		}
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if err := cluster.Delete(ctx, object); err != nil {
			t.Error(err)
		}
	})
	return namespace
}

// tail gives the last lines of a text.
func tail(text string) string {
	const most = 200
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// describe says in what state the pods of a namespace are.
func describe(ctx context.Context, namespace string) string {
	var out strings.Builder
	pods := &corev1.PodList{}
	if err := cluster.Client().List(ctx, pods, client.InNamespace(namespace)); err != nil {
		return err.Error()
	}
	for _, p := range pods.Items {
		fmt.Fprintf(&out, "pod %s: %s %s on %q, ready %t\n", p.Name, p.Status.Phase, p.Status.Message, p.Spec.NodeName, ready(&p))
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			fmt.Fprintf(&out, "  %s: %d restarts, ready %t, %+v\n", c.Name, c.RestartCount, c.Ready, c.State)
		}
	}
	return out.String()
}

// said is what the kubelet said of a namespace.
func said(namespace string) string {
	events.mu.Lock()
	defer events.mu.Unlock()
	var out strings.Builder
	for _, line := range events.lines {
		if strings.Contains(line, namespace) {
			fmt.Fprintln(&out, line)
		}
	}
	return out.String()
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// await waits until cond holds, asking anew every moment.
func await(ctx context.Context, t *testing.T, what string, cond func(context.Context) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// withinSecond is await for what is promised within a second.
func withinSecond(t *testing.T, what string, cond func(context.Context) bool) time.Duration {
	t.Helper()
	start := time.Now()
	await(bounded(t), t, what, cond)
	took := time.Since(start)
	if pace.Late(t, took, time.Second) {
		t.Errorf("%s: after %s", what, took)
	}
	return took
}

// readPod gives a pod as the API server has it, nil if it has none.
func readPod(ctx context.Context, key types.NamespacedName) *corev1.Pod {
	p := &corev1.Pod{}
	if cluster.Client().Get(ctx, key, p) != nil {
		return nil
	}
	return p
}

// awaitReady waits until a pod is ready.
func awaitReady(ctx context.Context, t *testing.T, key types.NamespacedName) {
	t.Helper()
	await(ctx, t, "pod "+key.String()+" is ready", func(ctx context.Context) bool {
		p := readPod(ctx, key)
		return p != nil && ready(p)
	})
}

// awaitPhase waits until a pod has ended so.
func awaitPhase(ctx context.Context, t *testing.T, key types.NamespacedName, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	var p *corev1.Pod
	await(ctx, t, fmt.Sprintf("pod %s is %s", key, phase), func(ctx context.Context) bool {
		p = readPod(ctx, key)
		return p != nil && p.Status.Phase == phase
	})
	return p
}

// podsOf gives the pods of a namespace with a label, app=name.
func podsOf(ctx context.Context, namespace, app string) []corev1.Pod {
	pods := &corev1.PodList{}
	if cluster.Client().List(ctx, pods, client.InNamespace(namespace), client.MatchingLabels{"app": app}) != nil {
		return nil
	}
	return pods.Items
}

// ask asks a URL as a program in a pod would, over a connection of its own.
func ask(ctx context.Context, from types.NamespacedName, method, url string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: node.Dial(from)}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

// get reads a URL from the node, as Prometheus would.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}
