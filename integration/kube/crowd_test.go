// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/consultest"
)

// crowd are pods that do not run: their node is played by the test.
type crowd struct {
	namespace, account string
	nodes              []string
	pods               []types.NamespacedName
}

// newCrowd makes pods without addresses, through the webhook.
func newCrowd(ctx context.Context, t *testing.T, count int) *crowd {
	t.Helper()
	namespace := newNamespace(t, "crowd", restricted())
	c := &crowd{namespace: namespace, account: newAccount(t, namespace, "crowd")}
	for i := range 20 {
		object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", namespace, i)}}
		must(t, cluster.Client().Create(ctx, object))
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := cluster.Delete(ctx, object); err != nil {
				t.Error(err)
			}
		})
		c.nodes = append(c.nodes, object.Name)
	}
	for i := range count {
		c.pods = append(c.pods, types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("pod-%d", i)})
	}
	start := time.Now()
	c.each(ctx, t, c.pods, func(i int, key types.NamespacedName) error {
		pod := waitingPod(namespace, key.Name, c.account, nil)
		pod.Spec.NodeName = c.nodes[i%len(c.nodes)]
		return cluster.Client().Create(ctx, pod)
	})
	t.Logf("%d pods have been admitted after %s", count, time.Since(start).Round(time.Millisecond))
	t.Cleanup(func() { c.remove(t) })
	return c
}

// remove deletes the pods without grace: nobody else would tell that they have ended.
func (c *crowd) remove(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := cluster.Client().DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(c.namespace), client.GracePeriodSeconds(0)); err != nil {
		t.Error(err)
	}
	c.awaitRegistered(ctx, t, 0)
}

// each calls do for all pods, a few at a time.
func (c *crowd) each(ctx context.Context, t *testing.T, pods []types.NamespacedName, do func(int, types.NamespacedName) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range next {
				if err := do(i, pods[i]); err != nil {
					t.Errorf("%s: %v", pods[i], err)
				}
			}
		})
	}
	for i := range pods {
		if ctx.Err() == nil {
			next <- i
		}
	}
	close(next)
	wg.Wait()
}

func (c *crowd) ip(i int) string { return fmt.Sprintf("10.245.%d.%d", i/250, 1+i%250) }

// run says that a pod runs and is ready.
func (c *crowd) run(ctx context.Context, i int, key types.NamespacedName) error {
	yes := corev1.ConditionTrue
	status, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: c.ip(i), PodIPs: []corev1.PodIP{{IP: c.ip(i)}},
		HostIP: network.Addr().String(), HostIPs: []corev1.HostIP{{IP: network.Addr().String()}},
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: yes}, {Type: corev1.ContainersReady, Status: yes}, {Type: corev1.PodInitialized, Status: yes},
		},
	}})
	if err != nil {
		return err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	return cluster.Client().Status().Patch(ctx, pod, client.RawPatch(types.MergePatchType, status))
}

// count is how many instances of the crowd's service and proxies the catalog has.
func (c *crowd) count(ctx context.Context) int {
	count := 0
	for _, service := range []string{c.account, c.account + "-sidecar-proxy"} {
		var list []struct{ ServiceID string }
		if consul.Client().Get(ctx, "/v1/catalog/service/"+url.PathEscape(service), &list) != nil {
			return -1
		}
		count += len(list)
	}
	return count
}

// awaitRegistered waits until the catalog has as many instances as pods ask for. They are counted only while Consul's own
// number of all instances stands still: to list thousands, again and again, would be most of what Consul does.
func (c *crowd) awaitRegistered(ctx context.Context, t *testing.T, pods int) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for before := -1; ; {
		var usage struct {
			Usage map[string]struct{ ServiceInstances int }
		}
		err := consul.Client().Get(ctx, "/v1/operator/usage", &usage)
		now := usage.Usage[consultest.Datacenter].ServiceInstances
		if err == nil && now == before && c.count(ctx) == 2*pods {
			return
		}
		before = now
		select {
		case <-ctx.Done():
			t.Fatalf("the catalog has %d instances of the crowd, not %d", c.count(context.WithoutCancel(ctx)), 2*pods)
		case <-tick.C:
		}
	}
}

// verify compares what the catalog has with the pods.
func (c *crowd) verify(ctx context.Context, t *testing.T, pods []types.NamespacedName) {
	t.Helper()
	want := map[string]string{}
	for _, key := range pods {
		i := slices.Index(c.pods, key)
		want[key.Name] = c.ip(i) + " " + c.nodes[i%len(c.nodes)] + "-virtual"
	}
	for _, service := range []string{c.account, c.account + "-sidecar-proxy"} {
		seen := map[string]bool{}
		for _, found := range instances(ctx, service) {
			name := found.Service.Meta["pod-name"]
			got := found.Service.Address + " " + found.Node.Node
			if seen[name] || got != want[name] {
				t.Errorf("%s of pod %q is at %q, not %q; seen before: %t", service, name, got, want[name], seen[name])
			}
			seen[name] = true
		}
		if len(seen) != len(want) {
			t.Errorf("%s has %d instances, not %d", service, len(seen), len(want))
		}
	}
}
