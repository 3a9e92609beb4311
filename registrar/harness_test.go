// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"podplane/meshpod"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster and a catalog, and a registrar between them that does what it is told to and nothing by itself.
type world struct {
	*reconciler
	t      *testing.T
	kube   client.Client // what the cache shows
	live   client.Client // what the API server has; the same unless lagging
	consul *fakeConsul
	logs   *logs
	// liveErr is what the API server answers, if it is set.
	liveErr error
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, consul: newFakeConsul(t), logs: &logs{}}
	w.kube = newKube()
	w.live = w.kube
	w.restart(change...)
	return w
}

// newKube is a fake API server.
func newKube(objects ...client.Object) client.WithWatch {
	return fake.NewClientBuilder().WithObjects(objects...).WithStatusSubresource(&corev1.Pod{}).
		WithIndex(&discoveryv1.EndpointSlice{}, slicesByPod, func(o client.Object) []string { return podsIn(o.(*discoveryv1.EndpointSlice)) }).
		Build()
}

// restart makes a registrar that knows nothing yet.
func (w *world) restart(change ...func(*Config)) {
	w.t.Helper()
	cfg := Config{
		Consul: w.consul.client, Cluster: "c1", Defaults: meshpod.Standard(),
		Logger: hclog.New(&hclog.LoggerOptions{Output: w.logs, Level: hclog.Trace}),
	}.withDefaults()
	for _, c := range change {
		c(&cfg)
	}
	live := interceptor.NewClient(w.live.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if w.liveErr != nil {
				return w.liveErr
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	r, err := newReconciler(cfg, w.kube, live)
	if err != nil {
		w.t.Fatal(err)
	}
	w.reconciler = r
}

// do reconciles one pod.
func (w *world) do(key types.NamespacedName) (time.Duration, error) {
	result, err := w.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: key})
	return result.RequeueAfter, err
}

// must reconciles one pod without an error.
func (w *world) must(pod *corev1.Pod) time.Duration {
	w.t.Helper()
	again, err := w.do(client.ObjectKeyFromObject(pod))
	if err != nil {
		w.t.Fatal(err)
	}
	return again
}

// sweepOnce sweeps and reconciles what it found.
func (w *world) sweepOnce() error {
	var found []types.NamespacedName
	s := &sweeper{reconciler: w.reconciler}
	errs := []error{s.sweep(w.t.Context(), func(r reconcile.Request) { found = append(found, r.NamespacedName) })}
	for _, key := range found {
		_, err := w.do(key)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.kube.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// put creates a pod, and reconciles it.
func (w *world) put(pod *corev1.Pod) *corev1.Pod {
	w.t.Helper()
	w.create(pod)
	w.must(pod)
	return pod
}

// change changes a pod, and reconciles it.
func (w *world) change(pod *corev1.Pod, how func(*corev1.Pod)) {
	w.t.Helper()
	now := &corev1.Pod{}
	if err := w.kube.Get(w.t.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
		w.t.Fatal(err)
	}
	how(now)
	status := now.Status
	if err := w.kube.Update(w.t.Context(), now); err != nil {
		w.t.Fatal(err)
	}
	now.Status = status
	if err := w.kube.Status().Update(w.t.Context(), now); err != nil {
		w.t.Fatal(err)
	}
	w.must(pod)
}

// remove deletes a pod at once, and reconciles it.
func (w *world) remove(pod *corev1.Pod) {
	w.t.Helper()
	if err := w.kube.Delete(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
	w.must(pod)
}

// ids are what the catalog has, as node/id=status.
func (w *world) ids() string {
	var out []string
	for _, i := range w.consul.all() {
		out = append(out, i.node+"/"+i.id+"="+i.status)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.ids(); got != strings.Join(want, " ") {
		w.t.Errorf("the catalog has\n%s\nnot\n%s", got, strings.Join(want, " "))
	}
}

// both are a service and its proxy.
func both(id, status string) []string {
	return []string{id + "=" + status, id + "-sidecar-proxy=" + status}
}

func expectAll(w *world, pairs ...[]string) {
	w.t.Helper()
	w.expect(slices.Concat(pairs...)...)
}

// newPod is an injected pod that runs and is ready, on node n1.
func newPod(namespace, name, uid string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(uid),
			Labels: map[string]string{
				meshpod.LabelInjectStatus: meshpod.StatusInjected, meshpod.LabelManagedBy: meshpod.ManagedBy, "app": "web",
			},
			Annotations: map[string]string{meshpod.AnnotationInject: "true"},
		},
		Spec: corev1.PodSpec{
			NodeName: "n1", ServiceAccountName: "web",
			Containers:     []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}},
			InitContainers: []corev1.Container{dataplane()},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", HostIP: "192.0.2.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

// dataplane is what the registrar reads of a container as the webhook writes it.
func dataplane() corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	return corev1.Container{
		Name: meshpod.ContainerDataplane, RestartPolicy: &always, ReadinessProbe: &corev1.Probe{},
		Ports: []corev1.ContainerPort{{Name: meshpod.PortHealth + "0", ContainerPort: 21000}},
		Env:   []corev1.EnvVar{{Name: "DP_PROXY_NODE_NAME", Value: "$(NODE_NAME)" + meshpod.NodeSuffix}},
	}
}

func annotate(pairs ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for i := 0; i < len(pairs); i += 2 {
			p.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func onNode(name string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = name } }

func ready(status corev1.ConditionStatus) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Conditions[0].Status = status }
}

// apiClient speaks to a server of a test.
func apiClient(t *testing.T, address string) *api.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := api.NewClient(&api.Config{Address: address, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sweepsDone reads the counter of sweeps.
func (m *metrics) sweepsDone(t *testing.T, result string) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.sweeps.WithLabelValues(result).Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue()
}
