// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

// scaleVar asks for the figures of the promise. Without it the tests do the same with fewer pods, and judge whether all is
// right but not how long it took: other work of the machine would decide.
const scaleVar = "PODPLANE_KUBE_SCALE"

// size is how much a scale test does.
type size struct {
	full       bool
	admissions int           // a second
	duration   time.Duration // for which they go on
	pods       int
	deleted    int
}

func scale() size {
	if os.Getenv(scaleVar) != "" {
		return size{full: true, admissions: 500, duration: 20 * time.Second, pods: 5000, deleted: 1000}
	}
	return size{admissions: 100, duration: 3 * time.Second, pods: 300, deleted: 60}
}

// limit judges a figure at full size, and only tells it at the small one.
func (s size) limit(t *testing.T, what string, took, limit time.Duration) {
	t.Helper()
	t.Logf("%s: %s (promised: %s)", what, took.Round(time.Millisecond), limit)
	if s.full && took > limit {
		t.Errorf("%s took %s, more than %s", what, took, limit)
	}
}

// Reviews arrive at a steady rate, over connections that stay open, as an API server sends them.
func TestScaleAdmissions(t *testing.T) {
	ctx := bounded(t)
	s := scale()
	namespace := newNamespace(t, "admissions", restricted())
	send := webhookClient(ctx, t)
	pod := waitingPod(namespace, "pod", "some-account", map[string]string{
		meshpod.AnnotationUpstreams: "static-server:1234,other:1235", meshpod.AnnotationTags: "a,b",
	})
	body := review(t, pod)
	must(t, send(ctx, body)) // a first connection, and the namespace in caches

	total := int(s.duration.Seconds()) * s.admissions
	took := make([]time.Duration, total)
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for i := range total {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(s.admissions))
		<-time.After(time.Until(due)) // a late one does not make the next ones late
		wg.Go(func() {
			begin := time.Now()
			if err := send(ctx, body); err != nil {
				if failed.Add(1) == 1 {
					t.Error(err)
				}
			}
			took[i] = time.Since(begin)
		})
	}
	wg.Wait()
	rate := float64(total) / time.Since(start).Seconds()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d reviews failed", n, total)
	}
	slices.Sort(took)
	t.Logf("%.0f admissions a second, %d in all: median %s, p99 %s, longest %s", rate, total,
		took[total/2].Round(time.Microsecond), took[total*99/100].Round(time.Microsecond), took[total-1].Round(time.Microsecond))
	s.limit(t, "the 99th percentile", took[total*99/100], 20*time.Millisecond)
	if s.full && rate < 0.95*float64(s.admissions) {
		t.Errorf("%.0f admissions a second were sent, not %d", rate, s.admissions)
	}
}

// review is what an API server sends about a pod.
func review(t *testing.T, pod *corev1.Pod) []byte {
	t.Helper()
	pod = pod.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	raw, err := json.Marshal(pod)
	must(t, err)
	data, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "6b1f5f1e-3b0e-4d49-9c0c-000000000000", Namespace: pod.Namespace, Name: pod.Name,
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		},
	})
	must(t, err)
	return data
}

// webhookClient speaks to one replica, and trusts what the webhook configuration says.
func webhookClient(ctx context.Context, t *testing.T) func(context.Context, []byte) error {
	t.Helper()
	config := &registrationv1.MutatingWebhookConfiguration{}
	must(t, cluster.Client().Get(ctx, client.ObjectKey{Name: "podplane-injector"}, config))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.Webhooks[0].ClientConfig.CABundle) {
		t.Fatal("the webhook configuration has no authority")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "podplane-injector." + systemNamespace + ".svc"},
		Protocols:       protocols, MaxIdleConnsPerHost: 64,
	}
	t.Cleanup(transport.CloseIdleConnections)
	address := "https://" + replicas(ctx)[0].Status.PodIP + ":8080/mutate"
	return func(ctx context.Context, body []byte) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := (&http.Client{Transport: transport, Timeout: requestTimeout}).Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		var answer admissionv1.AdmissionReview
		if err := json.Unmarshal(data, &answer); err != nil {
			return err
		}
		if answer.Response == nil || !answer.Response.Allowed || len(answer.Response.Patch) == 0 {
			return fmt.Errorf("HTTP %d: %.500s", resp.StatusCode, data)
		}
		return nil
	}
}

// crowd are pods that do not run: their node is played by the test.
type crowd struct {
	namespace, account string
	nodes              []string
	pods               []types.NamespacedName
}

// Pods that get their addresses all at once are all registered, also when the registrar is killed in the middle; and
// those that are deleted are gone, and no others.
func TestScaleRegistration(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s := scale()
	c := newCrowd(ctx, t, s.pods)
	start := time.Now()
	c.each(ctx, t, c.pods, func(i int, key types.NamespacedName) error { return c.run(ctx, i, key) })
	t.Logf("%d pods have got their addresses after %s", s.pods, time.Since(start).Round(time.Millisecond))
	c.awaitRegistered(ctx, t, c.pods)
	s.limit(t, fmt.Sprintf("registering %d pods", s.pods), time.Since(start), time.Minute)
	c.verify(ctx, t, c.pods)

	gone, rest := c.pods[:s.deleted], c.pods[s.deleted:]
	start = time.Now()
	c.each(ctx, t, gone, func(_ int, key types.NamespacedName) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		return cluster.Client().Delete(ctx, pod, client.GracePeriodSeconds(0))
	})
	c.awaitRegistered(ctx, t, rest)
	s.limit(t, fmt.Sprintf("deregistering %d pods", s.deleted), time.Since(start), 15*time.Second)
	c.verify(ctx, t, rest)

	t.Run("restart in the middle", func(t *testing.T) {
		was := leader(ctx, t)
		half := rest[:len(rest)/2]
		var killed atomic.Bool
		var done atomic.Int64
		c.each(ctx, t, half, func(_ int, key types.NamespacedName) error {
			if done.Add(1) > int64(len(half)/2) && killed.CompareAndSwap(false, true) {
				must(t, node.Kill(was, "podplane-injector", syscall.SIGKILL))
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
			return cluster.Client().Delete(ctx, pod, client.GracePeriodSeconds(0))
		})
		c.awaitRegistered(ctx, t, rest[len(half):])
		c.verify(ctx, t, rest[len(half):])
	})
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
	await(ctx, t, "the crowd is out of the catalog", func(ctx context.Context) bool { return c.count(ctx) == 0 })
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

func (c *crowd) awaitRegistered(ctx context.Context, t *testing.T, pods []types.NamespacedName) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		count := c.count(ctx)
		if count == 2*len(pods) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the catalog has %d instances, not %d", count, 2*len(pods))
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
