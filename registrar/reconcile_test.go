// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

func TestRegisterFollowAndRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "web-1", "u1", ready(corev1.ConditionFalse)))
	expectAll(w, both("n1-virtual/default.web-1-0", "critical"))
	w.change(pod, ready(corev1.ConditionTrue))
	expectAll(w, both("n1-virtual/default.web-1-0", "passing"))
	if n := w.consul.wrote(); n != 3 {
		t.Errorf("%d writes, not 2 registrations and one of both checks", n)
	}
	w.must(pod)
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	if n := w.consul.wrote(); n != 0 {
		t.Errorf("%d writes though nothing changed", n)
	}
	w.remove(pod)
	w.expect()
	if len(w.consul.nodes) != 0 {
		t.Errorf("nodes are left: %v", w.consul.nodes)
	}
}

func TestSameNameInTwoNamespaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.put(newPod("default", "web-1", "u1"))
	w.put(newPod("team", "web-1", "u2"))
	expectAll(w, both("n1-virtual/default.web-1-0", "passing"), both("n1-virtual/team.web-1-0", "passing"))
	w.remove(one)
	expectAll(w, both("n1-virtual/team.web-1-0", "passing"))

	// With consul-k8s's IDs the second one waits until the first has gone.
	w = newWorld(t)
	compat := annotate(meshpod.AnnotationIDForm, string(meshpod.IDCompat))
	one = w.put(newPod("default", "web-1", "u1", compat))
	two := newPod("team", "web-1", "u2", compat, ready(corev1.ConditionFalse))
	w.create(two)
	if _, err := w.do(client.ObjectKeyFromObject(two)); err == nil || !strings.Contains(err.Error(), `belongs to pod default/web-1`) {
		t.Errorf("got %v", err)
	}
	expectAll(w, both("n1-virtual/web-1-web", "passing"))
	w.remove(one)
	w.must(two)
	expectAll(w, both("n1-virtual/web-1-web", "critical"))
}

func TestPodOfTheSameName(t *testing.T) {
	t.Parallel()
	cases := map[string]string{"same node": "n1", "another node": "n2"}
	for name, node := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			old := w.put(newPod("default", "web-0", "u1"))
			if err := w.kube.Delete(t.Context(), old); err != nil { // nobody looks in between
				t.Fatal(err)
			}
			w.put(newPod("default", "web-0", "u2", onNode(node)))
			expectAll(w, both(node+"-virtual/default.web-0-0", "passing"))
			for _, s := range w.consul.all() {
				if s.service.Meta[metaUID] != "u2" {
					t.Errorf("%s is of pod %s", s.id, s.service.Meta[metaUID])
				}
			}
			if len(w.consul.nodes) != 1 {
				t.Errorf("nodes: %v", w.consul.nodes)
			}
		})
	}
}

// A cache behind the API server shows a pod that has been replaced: nothing is done to the new one's registration.
func TestCacheBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(newPod("default", "web-0", "u2"))
	w.kube = newKube(newPod("default", "web-0", "u1", onNode("n2")))
	w.restart()
	if err := w.catalog.reload(t.Context(), "n1-virtual"); err != nil {
		t.Fatal(err)
	}
	w.consul.wrote()
	if again := w.must(newPod("default", "web-0", "u1")); again != cacheLag {
		t.Errorf("it is looked at again after %s", again)
	}
	w.kube = newKube() // and one that does not show it at all
	w.restart()
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	if n := w.consul.wrote(); n != 0 {
		t.Errorf("%d writes", n)
	}
	expectAll(w, both("n1-virtual/default.web-0-0", "passing"))

	w.liveErr = errors.New("the API server does not answer")
	if err := w.sweepOnce(); err == nil {
		t.Error("no error though nobody can say whether the pod is gone")
	}
	expectAll(w, both("n1-virtual/default.web-0-0", "passing"))

	w.liveErr, w.live = nil, w.kube
	w.restart()
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	w.expect()
}

func TestEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := w.put(newPod("default", "job", "u1"))
	w.change(job, func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	w.expect()

	// A pod that is told to end is critical at once, and leaves when its containers have ended.
	finalizer := func(p *corev1.Pod) { p.Finalizers = []string{"example.com/keep"} }
	pod := w.put(newPod("default", "web", "u2", finalizer))
	if err := w.kube.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if again := w.must(pod); again <= 0 || again > time.Minute {
		t.Errorf("it is looked at again after %s", again)
	}
	expectAll(w, both("n1-virtual/default.web-0", "critical"))
	w.change(pod, func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	})
	w.expect()
}

func TestChangesOfTheRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "web", "u1", annotate(meshpod.AnnotationService, "a,b", meshpod.AnnotationServicePort, "1,2")))
	expectAll(w, both("n1-virtual/default.web-0", "passing"), both("n1-virtual/default.web-1", "passing"))
	w.change(pod, annotate(meshpod.AnnotationService, "a", meshpod.AnnotationServicePort, "1"))
	expectAll(w, both("n1-virtual/default.web-0", "passing"))
	// What became invalid keeps what is there, and its checks follow.
	w.change(pod, annotate(meshpod.AnnotationServicePort, "nothing"))
	w.change(pod, ready(corev1.ConditionFalse))
	expectAll(w, both("n1-virtual/default.web-0", "critical"))
	if n := w.logs.count("are not valid any more"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	// Not of the mesh any more: the cache does not show it.
	w.change(pod, annotate(meshpod.AnnotationServicePort, "1"))
	w.remove(pod)
	w.expect()
}

// A node whose address or meta is another one now is written with the next pod, and only then.
func TestNodeChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "web", "u1"))
	w.consul.wrote()
	w.change(pod, func(p *corev1.Pod) { p.Status.HostIP = "192.0.2.2" })
	w.restart(func(c *Config) { c.NodeMeta = map[string]string{"rack": "7"} })
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	if n := w.consul.nodes["n1-virtual"]; n.Address != "192.0.2.2" || n.Meta["rack"] != "7" {
		t.Errorf("the node is %+v", n)
	}
	if n := w.consul.wrote(); n != 2 {
		t.Errorf("%d writes for two changes", n)
	}
}

func TestForeignInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(newPod("default", "web", "u1"))
	pod := newPod("default", "web", "u2")
	w.live, w.kube = newKube(pod), newKube(pod)
	w.restart(func(c *Config) { c.Cluster = "c2" })
	if _, err := w.do(client.ObjectKeyFromObject(pod)); err == nil || !strings.Contains(err.Error(), `belongs to cluster "c1"`) {
		t.Errorf("got %v", err)
	}
	expectAll(w, both("n1-virtual/default.web-0", "passing"))
	if got := w.consul.all()[0].service.Meta[metaUID]; got != "u1" {
		t.Errorf("it is of pod %s", got)
	}
}

// Whatever Consul answers, the work is done in the end, and what all pods wait for is logged once.
func TestConsulAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.consul.fail = func(*http.Request, bool) int { return http.StatusInternalServerError }
	for _, name := range []string{"a", "b", "c"} {
		pod := newPod("default", name, name)
		w.create(pod)
		for range 3 {
			if _, err := w.do(client.ObjectKeyFromObject(pod)); err == nil {
				t.Error("no error")
			}
		}
	}
	if n := w.logs.count("pods have to wait"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	w.consul.fail = nil
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	expectAll(w, both("n1-virtual/default.a-0", "passing"), both("n1-virtual/default.b-0", "passing"), both("n1-virtual/default.c-0", "passing"))
	if n := w.logs.count("pods are brought up to date again"); n != 1 {
		t.Errorf("its end is logged %d times", n)
	}
}

func TestEmptyNodeIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "web", "u1"))
	w.consul.fail = func(r *http.Request, _ bool) int { // the process ends before it comes to the node
		if r.URL.Path == "/v1/txn" && len(w.consul.instances) == 0 {
			return http.StatusInternalServerError
		}
		return 0
	}
	if err := w.kube.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if _, err := w.do(client.ObjectKeyFromObject(pod)); err == nil {
		t.Fatal("no error")
	}
	w.consul.fail = nil
	w.restart()
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	if len(w.consul.nodes) != 0 {
		t.Errorf("nodes are left: %v", w.consul.nodes)
	}
}

func TestMembership(t *testing.T) {
	t.Parallel()
	ignore := map[string]string{meshpod.LabelServiceIgnore: "true"}
	slice := func(labels map[string]string) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s", Labels: map[string]string{discoveryv1.LabelServiceName: "manual"}},
			Endpoints:  []discoveryv1.Endpoint{{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "web"}}, {}},
		}
		maps.Copy(s.Labels, labels)
		return s
	}
	manual := kubeService("manual", func(s *corev1.Service) { s.Spec.Selector = nil })
	labelled := func(name string) *corev1.Service {
		return kubeService(name, func(s *corev1.Service) { s.Labels = ignore })
	}
	cases := map[string]struct {
		objects []client.Object
		only    string
		want    membership
	}{
		"none":             {},
		"a slice by hand":  {objects: []client.Object{manual, slice(nil)}, want: membership{service: "manual"}},
		"an ignored slice": {objects: []client.Object{manual, slice(ignore)}, want: membership{ignored: true}},
		"one is ignored":   {objects: []client.Object{labelled("a"), kubeService("b")}, want: membership{service: "b"}},
		"all are ignored":  {objects: []client.Object{labelled("a"), labelled("b")}, want: membership{ignored: true}},
		"the chosen one":   {objects: []client.Object{kubeService("a"), kubeService("b")}, only: "b", want: membership{service: "b"}},
		"chosen, not made": {objects: []client.Object{kubeService("a")}, only: "b", want: membership{service: "b"}},
		"an external name": {objects: []client.Object{kubeService("a", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName })}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := memberOf(t.Context(), newKube(c.objects...), newPod("default", "web", "u", annotate(meshpod.AnnotationKubernetesService, c.only)))
			if err != nil || got.service != c.want.service || got.ignored != c.want.ignored {
				t.Errorf("got %+v, %v, not %+v", got, err, c.want)
			}
		})
	}
	pods, err := podsOf(t.Context(), newKube(newPod("default", "web", "u"), newPod("team", "web", "v")), kubeService("a"))
	if err != nil || !slices.Equal(pods, []types.NamespacedName{{Namespace: "default", Name: "web"}}) {
		t.Errorf("got %v, %v", pods, err)
	}
	if pods, err := podsOf(t.Context(), newKube(), manual); pods != nil || err != nil {
		t.Errorf("got %v, %v", pods, err)
	}
}
