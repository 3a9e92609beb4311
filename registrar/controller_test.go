// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"podplane/meshpod"
)

// names takes all that waits in a queue.
func names(q queue) string {
	var out []string
	for q.Len() > 0 {
		item, _ := q.Get()
		q.Done(item)
		out = append(out, item.String())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func newTestQueue(t *testing.T) queue {
	t.Helper()
	q := newQueue("", workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(q.ShutDown)
	return q
}

// Events of Services and slices concern the pods that they select or name, and those of before.
func TestEventsConcernPods(t *testing.T) {
	t.Parallel()
	w, q := newWorld(t), newTestQueue(t)
	label := func(app string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Labels["app"] = app } }
	for _, pod := range []*corev1.Pod{
		newPod("default", "web", "u1"), newPod("default", "db", "u2", label("db")), newPod("default", "other", "u3", label("other")), newPod("team", "web", "u4"),
	} {
		w.create(pod)
	}
	db := kubeService("s", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "db"} })
	w.selected(t.Context(), q, kubeService("s"), db)
	if got := names(q); got != "default/db default/web" {
		t.Errorf("a service that changes its selector concerns %s", got)
	}
	slice := func(pod string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"},
			Endpoints:  []discoveryv1.Endpoint{{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod}}},
		}
	}
	named(q, slice("web"), slice("db"))
	if got := names(q); got != "default/db default/web" {
		t.Errorf("a slice that changes concerns %s", got)
	}
}

// What sweeps find waits for what changed.
func TestSweepsWait(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	request := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "default", Name: name}}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		enqueueLater(q, request(name))
		enqueueLater(q, request(name))
	}
	q.Add(request("changed"))
	q.Add(request("c")) // what was found has changed besides
	enqueueLater(q, request("changed"))
	enqueueLater(q, request("c"))
	if n := q.Len(); n != 5 {
		t.Errorf("%d are waiting", n)
	}
	var got []string
	take := func() reconcile.Request {
		item, _ := q.Get()
		got = append(got, item.Name)
		return item
	}
	changed := take()
	enqueueLater(q, changed) // while it is worked on
	q.Done(changed)
	for range 5 {
		q.Done(take())
	}
	if want := []string{"changed", "c", "a", "b", "d", "changed"}; !slices.Equal(got, want) || q.Len() != 0 {
		t.Errorf("the order is %v, not %v", got, want)
	}
	// It was marked once, and is urgent the next time.
	enqueueLater(q, request("a"))
	q.Add(changed)
	if item := take(); item != changed {
		t.Errorf("%s comes first", item)
	}
	plain := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(plain.ShutDown)
	enqueueLater(plain, request("swept"))
	if got := names(plain); got != "default/swept" {
		t.Errorf("got %s", got)
	}
}

// What changes while it is worked on is urgent afterwards, whether a sweep finds it before or after the change.
func TestQueueChangedMeanwhile(t *testing.T) {
	t.Parallel()
	request := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
	}
	for name, change := range map[string]func(q queue, item reconcile.Request){
		"swept before": func(q queue, item reconcile.Request) { enqueueLater(q, item); q.Add(item) },
		"swept after":  func(q queue, item reconcile.Request) { q.Add(item); enqueueLater(q, item) },
	} {
		q := newTestQueue(t)
		for range 2 { // once more, from the start
			q.Add(request("changed"))
			item, _ := q.Get()
			enqueueLater(q, request("swept"))
			change(q, item)
			q.Done(item)
			for _, want := range []string{"changed", "swept"} {
				item, _ := q.Get()
				if item.Name != want {
					t.Errorf("%s: %s comes before %s", name, item.Name, want)
				}
				q.Done(item)
			}
		}
	}
}

// The end of the queue is the end of those who work on it, however much there is.
func TestQueueEnds(t *testing.T) {
	t.Parallel()
	for range 20 {
		q := newTestQueue(t)
		var workers sync.WaitGroup
		for i := range 16 {
			workers.Go(func() {
				for n := 0; ; n++ {
					q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: fmt.Sprint(i, n)}})
					item, ended := q.Get()
					if ended {
						return
					}
					q.Done(item)
				}
			})
		}
		eventually(t, func() bool { return q.Len() > 0 })
		q.ShutDown()
		workers.Wait() // the test's time is its limit
	}
}

func TestClusterUID(t *testing.T) {
	t.Parallel()
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "c-1"}}
	if uid, err := clusterUID(t.Context(), newKube(system), time.Minute); uid != "c-1" || err != nil {
		t.Errorf("got %q, %v", uid, err)
	}
	if _, err := clusterUID(t.Context(), newKube(), time.Minute); err == nil {
		t.Error("a cluster without kube-system has a UID")
	}
}

// The cache keeps what registrations are made of, and nothing else that is large or secret.
func TestStrip(t *testing.T) {
	t.Parallel()
	pod := newPod("default", "web", "u1", annotate(meshpod.AnnotationCA, "PEM", corev1.LastAppliedConfigAnnotation, "{}"), func(p *corev1.Pod) {
		p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
		p.Spec.Volumes = []corev1.Volume{{Name: "data"}}
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", Value: "secret"}}
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "consul-dataplane", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Message: "long"},
		}}}
	})
	whole := pod.DeepCopy()
	for range 2 { // a cache may do it again
		if _, err := strip(pod); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf("%+v", pod)
	for _, gone := range []string{"kubectl", "PEM", "secret", "long", "PodScheduled", "data"} {
		if gone != "data" && strings.Contains(text, gone) || len(pod.Spec.Volumes) > 0 {
			t.Errorf("%s is kept in %s", gone, text)
		}
	}
	w := newWorld(t)
	one, err := w.want(t.Context(), whole, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.want(t.Context(), pod, time.Now())
	if err != nil || len(two.instances) != 2 || two.instances[1].digest != one.instances[1].digest || !meshpod.Carries(pod) {
		t.Errorf("a stripped pod is registered as %+v, not %+v; %v", two, one, err)
	}
	service := kubeService("s", func(s *corev1.Service) { s.Annotations = map[string]string{"a": "b"} })
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{}}}}
	for _, o := range []client.Object{service, node} {
		if _, err := strip(o); err != nil {
			t.Fatal(err)
		}
	}
	if service.Annotations != nil || service.Spec.Selector == nil || node.Status.Images != nil || node.Labels == nil {
		t.Errorf("got %+v and %+v", service, node)
	}
	if o := CacheOptions(); len(o.ByObject) != 3 || o.DefaultTransform == nil {
		t.Errorf("got %+v", o)
	}
}

// runSweeper has a sweeper run until what is asked for holds.
func runSweeper(t *testing.T, w *world, until func() bool) queue {
	t.Helper()
	q := newTestQueue(t)
	s := &sweeper{reconciler: w.reconciler, queue: make(chan queue, 1)}
	s.queue <- q
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	eventually(t, until)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return q
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	limit, tick := time.After(time.Minute), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			t.Fatal("never")
		case <-tick.C:
		}
	}
}

// Sweeps go on through failures, which are logged once, and find what is left of pods that are gone.
func TestSweeper(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "gone", "u1"))
	w.put(newPod("default", "stays", "u2"))
	if err := w.kube.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	w.restart(func(c *Config) { c.SweepInterval = 20 * time.Millisecond })
	tries := 0
	w.consul.fail = func(*http.Request, bool) int {
		if tries++; tries > 3 {
			return 0
		}
		return http.StatusInternalServerError
	}
	q := runSweeper(t, w, func() bool { return w.metrics.sweepsDone(t, "success") > 0 })
	if got := names(q); got != "default/gone default/stays" {
		t.Errorf("reconciled are %s", got)
	}
	if n := w.logs.count("cannot compare"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	if n := w.metrics.sweepsDone(t, "failure"); n < 2 {
		t.Errorf("%v sweeps failed", n)
	}
	if n := w.catalog.memory.size(); n != 4 {
		t.Errorf("%d instances are known", n)
	}
}
