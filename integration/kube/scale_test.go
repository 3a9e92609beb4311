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

	"podplane/integration/pace"
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
	var first atomic.Value
	var wg sync.WaitGroup
	start := time.Now()
	for i := range total {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(s.admissions))
		<-time.After(time.Until(due)) // a late one does not make the next ones late
		wg.Go(func() {
			begin := time.Now()
			if err := send(ctx, body); err != nil {
				if failed.Add(1) == 1 {
					first.Store(err.Error())
				}
			}
			took[i] = time.Since(begin)
		})
	}
	wg.Wait()
	rate := float64(total) / time.Since(start).Seconds()
	if n := failed.Load(); n > 0 {
		// On a machine with much else to do, connections are closed before it comes to them.
		if busy := pace.Busyness(t); s.full || busy < pace.Busy {
			t.Errorf("%d of %d reviews failed, the first one: %v", n, total, first.Load())
		} else {
			t.Logf("%d of %d reviews failed on a machine where work takes %.1f times as long, the first one: %v", n, total, busy, first.Load())
		}
	}
	slices.Sort(took)
	t.Logf("%.0f admissions a second, %d in all: median %s, p99 %s, longest %s", rate, total,
		took[total/2].Round(time.Microsecond), took[total*99/100].Round(time.Microsecond), took[total-1].Round(time.Microsecond))
	s.limit(t, "the 99th percentile of admissions", took[total*99/100], 20*time.Millisecond)
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
	c.awaitRegistered(ctx, t, len(c.pods))
	s.limit(t, fmt.Sprintf("registering %d pods", s.pods), time.Since(start), time.Minute)
	c.verify(ctx, t, c.pods)

	gone, rest := c.pods[:s.deleted], c.pods[s.deleted:]
	start = time.Now()
	c.each(ctx, t, gone, func(_ int, key types.NamespacedName) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		return cluster.Client().Delete(ctx, pod, client.GracePeriodSeconds(0))
	})
	c.awaitRegistered(ctx, t, len(rest))
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
		start := time.Now()
		c.awaitRegistered(ctx, t, len(rest)-len(half))
		t.Logf("the registrar was killed while %d pods were deleted: the catalog is complete %s after the last", len(half),
			time.Since(start).Round(time.Millisecond))
		c.verify(ctx, t, rest[len(half):])
	})
}
