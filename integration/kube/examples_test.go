// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/consultest"
	"podplane/integration/servers"
	"podplane/meshpod"
)

// restricted is the strictest level of Pod Security.
func restricted() map[string]string {
	return map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
}

// TestExamples applies the examples of the documentation as they are, in a namespace with Pod Security `restricted`.
func TestExamples(t *testing.T) {
	namespace := newNamespace(t, "examples", restricted())
	ctx := bounded(t)
	must(t,
		consul.Client().SetIntention(ctx, "*", "static-server", consultest.Allow),
		consul.Client().SetIntention(ctx, "*", "web", consultest.Allow),
		consul.Client().SetIntention(ctx, "*", "web-admin", consultest.Allow),
		apply(ctx, namespace, "examples/static-server.yaml"),
		apply(ctx, namespace, "examples/static-client.yaml"))
	clientPod := onlyPod(ctx, t, namespace, "static-client")
	serverPod := onlyPod(ctx, t, namespace, "static-server")

	t.Run("traffic", func(t *testing.T) { testExampleTraffic(t, clientPod) })
	t.Run("metrics", func(t *testing.T) { testExampleMetrics(t, clientPod, serverPod) })
	t.Run("job", func(t *testing.T) { testExampleJob(t, namespace, "example-job", "job.yaml") })
	t.Run("job with curl", func(t *testing.T) { testExampleJob(t, namespace, "example-job-curl", "job-curl.yaml") })
	t.Run("multi-port", func(t *testing.T) { testExampleMultiPort(t, namespace) })
	t.Run("end", func(t *testing.T) { testExampleEnd(t, namespace) })
}

// onlyPod waits until the one pod of a Deployment is ready.
func onlyPod(ctx context.Context, t *testing.T, namespace, app string) types.NamespacedName {
	t.Helper()
	var key types.NamespacedName
	await(ctx, t, app+" is ready", func(ctx context.Context) bool {
		pods := podsOf(ctx, namespace, app)
		if len(pods) != 1 || !ready(&pods[0]) {
			return false
		}
		key = client.ObjectKeyFromObject(&pods[0])
		return true
	})
	return key
}

// expectGreeting waits until a URL is answered with a text.
func expectGreeting(ctx context.Context, t *testing.T, from types.NamespacedName, url, want string) {
	t.Helper()
	var status int
	var body string
	var err error
	await(ctx, t, url+" is answered", func(ctx context.Context) bool {
		status, body, err = ask(ctx, from, http.MethodGet, url)
		return err == nil && status == http.StatusOK
	})
	if body != want {
		t.Errorf("%s answers %q, not %q", url, body, want)
	}
}

// static-client reaches static-server through the mesh, and not when an intention denies it.
func testExampleTraffic(t *testing.T, from types.NamespacedName) {
	t.Helper()
	ctx := bounded(t)
	const url = "http://localhost:1234"
	expectGreeting(ctx, t, from, url, "hello world")
	out, code, err := node.Exec(ctx, from, "static-client", "curl", "-s", url)
	if err != nil || code != 0 || strings.TrimSpace(out) != "hello world" {
		t.Errorf("curl in the container says %q with code %d, %v", out, code, err)
	}
	must(t, consul.Client().SetIntention(ctx, "static-client", "static-server", consultest.Deny))
	took := withinSecond(t, "a denied request is refused", func(ctx context.Context) bool {
		_, _, err := ask(ctx, from, http.MethodGet, url)
		return err != nil && ctx.Err() == nil
	})
	t.Logf("denied after %s", took.Round(time.Millisecond))
	must(t, consul.Client().DeleteIntention(ctx, "static-client", "static-server"))
	expectGreeting(ctx, t, from, url, "hello world")
}

// What the pods' annotations tell Prometheus to scrape is a valid exposition of all three sources.
func testExampleMetrics(t *testing.T, clientPod, serverPod types.NamespacedName) {
	t.Helper()
	ctx := bounded(t)
	for key, want := range map[types.NamespacedName][]string{
		clientPod: {"envoy_cluster_upstream_rq", "podplane_"},
		serverPod: {"envoy_", "podplane_", "app_text_bytes 11"},
	} {
		scrape(ctx, t, readPod(ctx, key), want...)
	}
}

// scrape reads the pod's metrics as Prometheus does, from outside of the pod.
func scrape(ctx context.Context, t *testing.T, pod *corev1.Pod, want ...string) {
	t.Helper()
	a := pod.Annotations
	if a["prometheus.io/scrape"] != "true" {
		t.Fatalf("pod %s is not to be scraped: %v", pod.Name, a)
	}
	url := "http://" + pod.Status.PodIP + ":" + a["prometheus.io/port"] + a["prometheus.io/path"]
	body, err := get(ctx, url)
	must(t, err)
	if advice, err := servers.CheckMetrics(ctx, strings.NewReader(body)); err != nil {
		t.Errorf("%s is no valid exposition: %v %s", url, err, advice)
	}
	for _, w := range want {
		if !strings.Contains(body, w) {
			t.Errorf("%s has no %q", url, w)
		}
	}
}

// A Job completes, and nothing of it is left in Consul: no service, no token, no node of its own.
func testExampleJob(t *testing.T, namespace, name, file string) {
	t.Helper()
	ctx := bounded(t)
	start := time.Now()
	must(t, apply(ctx, namespace, "examples/"+file))
	registered, loggedIn := false, false
	job := &batchv1.Job{}
	await(ctx, t, "the Job is complete", func(ctx context.Context) bool {
		registered = registered || len(instances(ctx, name+"-sidecar-proxy")) > 0
		loggedIn = loggedIn || hasToken(ctx, t, namespace, name)
		must(t, cluster.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, job))
		if job.Status.Failed > 0 {
			t.Fatal("the Job's pod has failed")
		}
		return job.Status.Succeeded == 1
	})
	t.Logf("complete after %s", time.Since(start).Round(time.Millisecond))
	if !registered || !loggedIn {
		t.Errorf("it was in the catalog: %t, it had a token: %t", registered, loggedIn)
	}
	pods := &corev1.PodList{}
	must(t, cluster.Client().List(ctx, pods, client.InNamespace(namespace), client.MatchingLabels{"app": name}))
	if len(pods.Items) != 1 || pods.Items[0].Status.Phase != corev1.PodSucceeded {
		t.Fatalf("the Job has %d pods", len(pods.Items))
	}
	if out := node.Output(client.ObjectKeyFromObject(&pods.Items[0])); !strings.Contains(out, "hello world") {
		t.Error("the Job has not read what static-server says")
	}
	expectForgotten(ctx, t, namespace, name)
}

// hasToken tells whether a pod of the namespace has a token with a service's identity.
func hasToken(ctx context.Context, t *testing.T, namespace, service string) bool {
	t.Helper()
	all, err := tokens(ctx)
	must(t, err)
	return slices.ContainsFunc(all, func(token aclToken) bool {
		return strings.Contains(token.Description, `"`+namespace+"/") &&
			slices.ContainsFunc(token.ServiceIdentities, func(i serviceIdentity) bool { return i.ServiceName == service })
	})
}

// expectForgotten waits until Consul knows nothing of a service any more.
func expectForgotten(ctx context.Context, t *testing.T, namespace, service string) {
	t.Helper()
	start := time.Now()
	await(ctx, t, service+" is out of the catalog", func(ctx context.Context) bool {
		return len(instances(ctx, service))+len(instances(ctx, service+"-sidecar-proxy")) == 0
	})
	gone := time.Since(start)
	await(ctx, t, "the tokens of "+service+" are deleted", func(ctx context.Context) bool {
		return !hasToken(ctx, t, namespace, service)
	})
	t.Logf("%s: out of the catalog after %s, tokens deleted after %s", service,
		gone.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
}

// Both services of the pod answer, each through a dataplane of its own, and both can be scraped.
func testExampleMultiPort(t *testing.T, namespace string) {
	t.Helper()
	ctx := bounded(t)
	must(t, apply(ctx, namespace, "examples/multiport.yaml"))
	key := onlyPod(ctx, t, namespace, "web")
	pod := readPod(ctx, key)
	for i, service := range []string{"web", "web-admin"} {
		list := instances(ctx, service+"-sidecar-proxy")
		if len(list) != 1 || list[0].Service.Port != 20000+i || list[0].Service.Address != pod.Status.PodIP {
			t.Errorf("%s has the proxies %+v", service, list)
		}
	}
	asker := createInjected(t, namespace, "both-client", "static-client", map[string]string{
		meshpod.AnnotationUpstreams: "web:1235,web-admin:1236",
	})
	awaitReady(ctx, t, asker)
	expectGreeting(ctx, t, asker, "http://localhost:1235", "hello world")
	expectGreeting(ctx, t, asker, "http://localhost:1236", "hello world from 9090 admin")
	scrape(ctx, t, pod, "envoy_", "podplane_")
	for i := range 2 {
		body, err := get(ctx, fmt.Sprintf("http://%s:%d/metrics", pod.Status.PodIP, 20200+i))
		if err != nil || !strings.Contains(body, "podplane_") {
			t.Errorf("dataplane %d cannot be scraped: %v", i, err)
		}
	}
}

// createInjected makes a pod that only waits, with annotations besides the one that injects it.
func createInjected(t *testing.T, namespace, name, account string, annotations map[string]string) types.NamespacedName {
	t.Helper()
	pod := waitingPod(namespace, name, account, annotations)
	must(t, cluster.Client().Create(bounded(t), pod))
	return client.ObjectKeyFromObject(pod)
}

// waitingPod is a pod of Pod Security `restricted` that does nothing.
func waitingPod(namespace, name, account string, annotations map[string]string) *corev1.Pod {
	yes, no, uid := true, false, int64(1000)
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = namespace, name
	pod.Labels = map[string]string{"app": name}
	pod.Annotations = map[string]string{meshpod.AnnotationInject: "true", meshpod.AnnotationService: account}
	maps.Copy(pod.Annotations, annotations)
	pod.Spec = corev1.PodSpec{
		ServiceAccountName: account,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &uid,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "main", Image: "curl", Command: []string{"sleep", "infinity"},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
	return pod
}

// When the namespace is emptied, Consul is as it was.
func testExampleEnd(t *testing.T, namespace string) {
	t.Helper()
	ctx := bounded(t)
	object := &corev1.Namespace{}
	object.Name = namespace
	must(t, cluster.Delete(ctx, object))
	for _, service := range []string{"static-server", "static-client", "web", "web-admin"} {
		expectForgotten(ctx, t, namespace, service)
	}
	await(ctx, t, "no synthetic node is left", func(ctx context.Context) bool {
		nodes, err := catalogNodes(ctx)
		return err == nil && len(nodes) == 0
	})
}
