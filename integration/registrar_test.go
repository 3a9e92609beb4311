// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"podplane/companion"
	"podplane/consulacl"
	"podplane/integration/consultest"
	"podplane/integration/kubetest"
	"podplane/meshpod"
	"podplane/registrar"
)

// registrarScaleVar asks for the figures of the promise, as in integration/kube; otherwise fewer pods show what is right.
const registrarScaleVar = "PODPLANE_KUBE_SCALE"

// catalogWorld is a cluster and a catalog, both real, with a registrar between them that is part of the test.
type catalogWorld struct {
	t         *testing.T
	kube      *kubetest.Cluster
	namespace string
	consul    *consultest.Cluster
	admin     *api.Client
	own       *api.Client // with the rights that bootstrap-acl gives the companion

	mu   sync.Mutex
	logs strings.Builder
}

const registrarMethod = "podplane"

func newCatalogWorld(t *testing.T) *catalogWorld {
	t.Helper()
	ctx := t.Context()
	kube, err := kubetest.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kube.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &catalogWorld{t: t, kube: kube, consul: consultest.New(t, consultest.Options{ACL: true})}
	w.namespace, err = kube.NewNamespace(ctx, "crowd", nil)
	if err == nil {
		err = kube.AwaitServiceAccount(ctx, w.namespace, "default")
	}
	if err != nil {
		t.Fatal(err)
	}
	w.admin = w.client(w.consul.Token())
	reviews := tokenReviews(t)
	_, err = consulacl.Bootstrap(ctx, consulacl.Config{
		Consul: w.admin, AuthMethod: registrarMethod, Policy: "podplane-injector", Role: "podplane-injector",
		Namespace: "podplane-system", ServiceAccount: "podplane-injector", MaxTokenTTL: time.Hour, TokenCleanup: true,
		KubernetesHost: reviews.URL, ReviewerToken: unsigned("podplane-system/reviewer"),
		KubernetesCA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: reviews.Certificate().Raw})),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.own = w.client(w.login("podplane-system/podplane-injector", nil).SecretID)
	t.Cleanup(func() {
		if t.Failed() {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Logf("the registrar's log:\n%s", tail(w.logs.String(), 100))
		}
	})
	return w
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Write takes the registrar's log.
func (w *catalogWorld) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.Write(p)
}

func (w *catalogWorld) client(token string) *api.Client {
	w.t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	w.t.Cleanup(transport.CloseIdleConnections)
	c, err := api.NewClient(&api.Config{Address: w.consul.HTTPAddr(0), Token: token, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// login gives what the dataplane of a pod gets.
func (w *catalogWorld) login(account string, meta map[string]string) *api.ACLToken {
	w.t.Helper()
	token, _, err := w.client("").ACL().Login(&api.ACLLoginParams{AuthMethod: registrarMethod, BearerToken: unsigned(account), Meta: meta}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// running is a registrar and its metrics.
type running struct {
	registry *prometheus.Registry
	stop     func()
}

// run starts a registrar, which ends with the test or when it is stopped.
func (w *catalogWorld) run() running {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	again, shutdown := true, 30*time.Second
	rest := w.kube.Admin()
	rest.QPS, rest.Burst = 100, 200
	mgr, err := manager.New(rest, manager.Options{
		Scheme: kubetest.Scheme(), Cache: registrar.CacheOptions(), Logger: companion.Logr(hclog.New(&hclog.LoggerOptions{Output: w, Level: hclog.Warn})),
		Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", GracefulShutdownTimeout: &shutdown,
		Controller: ctrlconfig.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	r := running{registry: prometheus.NewRegistry()}
	err = registrar.Add(ctx, mgr, registrar.Config{
		Consul: w.own, Defaults: meshpod.Standard(), AuthMethod: registrarMethod, Locality: true, Registerer: r.registry,
		SweepInterval: 2 * time.Second, Logger: hclog.New(&hclog.LoggerOptions{Output: w, Level: hclog.Debug}),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(r.stop)
	return r
}

// sum adds up the values of a metric with a label, or of all if there is none.
func (r running) sum(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "podplane_injector_registrar_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == label }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// node makes a Kubernetes node, so that nobody collects the pods on it.
func (w *catalogWorld) node(name string) {
	w.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelTopologyRegion: "here", corev1.LabelTopologyZone: "here-1",
	}}}
	if err := w.kube.Client().Create(w.t.Context(), node); err != nil {
		w.t.Fatal(err)
	}
}

// pod makes a pod that was injected and has been placed.
func (w *catalogWorld) pod(ctx context.Context, name, node string) (*corev1.Pod, error) {
	none, always := int64(0), corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: name, Labels: map[string]string{
				meshpod.LabelInjectStatus: meshpod.StatusInjected, meshpod.LabelManagedBy: meshpod.ManagedBy,
			},
			Annotations: map[string]string{
				meshpod.AnnotationService: "static-server", meshpod.AnnotationUpstreams: "other:1234", meshpod.AnnotationMetrics: "true",
				meshpod.AnnotationTags: "a,b", meshpod.AnnotationMetaPrefix + "version": "2", meshpod.AnnotationProxyConfig: `{"protocol":"http","n":0}`,
			},
		},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
			InitContainers: []corev1.Container{{
				Name: meshpod.ContainerDataplane, Image: "podplane", RestartPolicy: &always,
				Ports:          []corev1.ContainerPort{{Name: meshpod.PortHealth + "0", ContainerPort: 21000}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(21000)}}},
			}},
		},
	}
	return pod, w.kube.Client().Create(ctx, pod)
}

// status says that a pod runs, and whether it is ready.
func (w *catalogWorld) status(ctx context.Context, name, ip string, ready corev1.ConditionStatus) error {
	status, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
	}})
	if err != nil {
		return err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	return w.kube.Client().Status().Patch(ctx, pod, client.RawPatch(types.MergePatchType, status))
}

func (w *catalogWorld) start(name, ip string) *corev1.Pod {
	w.t.Helper()
	pod, err := w.pod(w.t.Context(), name, "n1")
	if err == nil {
		err = w.status(w.t.Context(), name, ip, corev1.ConditionTrue)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return pod
}

func (w *catalogWorld) delete(ctx context.Context, name string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	return w.kube.Client().Delete(ctx, pod, client.GracePeriodSeconds(0))
}

// health is what the catalog has of the service or its proxy, as pod=status.
func (w *catalogWorld) health(service string) (string, []*api.ServiceEntry) {
	entries, _, err := w.admin.Health().Service(service, "", false, &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		return err.Error(), nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Service.Meta["pod-name"]+"="+e.Checks.AggregatedStatus())
	}
	slices.Sort(out)
	return strings.Join(out, " "), entries
}

// await waits until service and proxy are as told, and says how long it took.
func (w *catalogWorld) await(want string) time.Duration {
	w.t.Helper()
	start := time.Now()
	w.until("the catalog has "+want, func() bool {
		service, _ := w.health("static-server")
		proxy, _ := w.health("static-server-sidecar-proxy")
		return service == want && proxy == want
	})
	return time.Since(start)
}

func (w *catalogWorld) until(what string, ok func() bool) {
	w.t.Helper()
	limit, tick := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit.C:
			service, _ := w.health("static-server")
			w.t.Fatalf("waited for %s; the service has %s", what, service)
		case <-tick.C:
		}
	}
}

func (w *catalogWorld) has(token *api.ACLToken) bool {
	_, _, err := w.admin.ACL().TokenRead(token.AccessorID, nil)
	return err == nil
}

func (w *catalogWorld) nodes() []string {
	nodes, _, err := w.admin.Catalog().Nodes(&api.QueryOptions{RequireConsistent: true})
	if err != nil {
		w.t.Error(err)
	}
	var out []string
	for _, n := range nodes {
		if n.Meta["synthetic-node"] == "true" {
			out = append(out, n.Node)
		}
	}
	slices.Sort(out)
	return out
}

// register puts an instance into the catalog that no pod of the cluster asked for.
func (w *catalogWorld) register(node, id string, meta map[string]string) {
	w.t.Helper()
	_, err := w.admin.Catalog().Register(&api.CatalogRegistration{
		Node: node, Address: "192.0.2.9", NodeMeta: map[string]string{"synthetic-node": "true"},
		Service: &api.AgentService{ID: id, Service: "planted", Port: 1, Meta: meta},
	}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *catalogWorld) planted() string {
	_, entries := w.health("planted")
	var out []string
	for _, e := range entries {
		out = append(out, e.Service.ID)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestRegistrar has a pod's way through a real catalog, with the rights that bootstrap-acl gives and no more.
func TestRegistrar(t *testing.T) {
	t.Parallel()
	w := newCatalogWorld(t)
	w.node("n1")
	r := w.run()

	one := w.start("one", "10.0.0.1")
	w.start("two", "10.0.0.2")
	w.await("one=passing two=passing")
	w.shape()

	if err := w.status(t.Context(), "one", "10.0.0.1", corev1.ConditionFalse); err != nil {
		t.Fatal(err)
	}
	t.Logf("a pod that is not ready any more is critical after %s", w.await("one=critical two=passing"))

	// Without a change, nothing is written, whether it goes on or starts anew.
	writes := r.sum(t, "writes_total", "")
	sweeps := r.sum(t, "sweeps_total", "success")
	w.until("two more sweeps", func() bool { return r.sum(t, "sweeps_total", "success") >= sweeps+2 })
	if now := r.sum(t, "writes_total", ""); now != writes {
		t.Errorf("%v writes though nothing changed", now-writes)
	}
	r.stop()
	r = w.run()
	w.until("a sweep", func() bool { return r.sum(t, "sweeps_total", "success") >= 2 })
	if now := r.sum(t, "writes_total", ""); now != 0 || r.sum(t, "instances", "") != 4 {
		t.Errorf("%v writes after a restart, of %v instances", now, r.sum(t, "instances", ""))
	}

	account := w.namespace + "/static-server"
	mine := w.login(account, map[string]string{"pod": w.namespace + "/one", "pod-uid": string(one.UID)})
	older := w.login(account, map[string]string{"pod": w.namespace + "/two", "pod-uid": "an earlier pod"})
	strangers := w.login(account, nil)
	if err := w.delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	t.Logf("a pod that is gone is out of the catalog after %s", w.await("two=passing"))
	w.until("tokens of pods that are gone are deleted", func() bool { return !w.has(mine) && !w.has(older) })
	if !w.has(strangers) {
		t.Error("a token that names no pod was deleted")
	}
	if err := w.delete(t.Context(), "two"); err != nil {
		t.Fatal(err)
	}
	w.await("")
	w.until("the node is gone", func() bool { return len(w.nodes()) == 0 })
}

// shape compares an instance with what is promised of it.
func (w *catalogWorld) shape() {
	w.t.Helper()
	_, services := w.health("static-server")
	_, proxies := w.health("static-server-sidecar-proxy")
	for i, e := range append(services[:1:1], proxies[0]) {
		if e.Node.Node != "n1-virtual" || e.Node.Address != "192.0.2.1" || e.Node.Meta["synthetic-node"] != "true" {
			w.t.Errorf("the node is %+v", e.Node)
		}
		if l := e.Service.Locality; l == nil || l.Region != "here" || l.Zone != "here-1" {
			w.t.Errorf("the locality is %+v", l)
		}
		if m := e.Service.Meta; m["version"] != "2" || m["k8s-namespace"] != w.namespace || m["managed-by"] != registrar.ManagedBy || m["pod-uid"] == "" {
			w.t.Errorf("the meta is %v", m)
		}
		if len(e.Checks) != 1 || e.Checks[0].Type != "kubernetes-readiness" || e.Checks[0].ServiceID != e.Service.ID {
			w.t.Errorf("the checks are %+v", e.Checks)
		}
		port := []int{8080, 20000}[i]
		if e.Service.Port != port || !slices.Equal(e.Service.Tags, []string{"a", "b"}) {
			w.t.Errorf("the instance is %+v", e.Service)
		}
	}
	p := proxies[0].Service.Proxy
	if p.DestinationServiceID != w.namespace+".one-0" && p.DestinationServiceID != w.namespace+".two-0" || p.LocalServicePort != 8080 ||
		len(p.Upstreams) != 1 || p.Upstreams[0].LocalBindPort != 1234 || p.Config["envoy_prometheus_bind_addr"] != "0.0.0.0:20200" || p.Config["protocol"] != "http" {
		w.t.Errorf("the proxy is %+v", p)
	}
}

// TestRegistrarSweep removes what is provably left behind by this cluster, and nothing else.
func TestRegistrarSweep(t *testing.T) {
	t.Parallel()
	w := newCatalogWorld(t)
	var system corev1.Namespace
	if err := w.kube.Client().Get(t.Context(), types.NamespacedName{Name: "kube-system"}, &system); err != nil {
		t.Fatal(err)
	}
	meta := func(change ...string) map[string]string {
		m := map[string]string{
			"pod-name": "gone", "pod-uid": "u", "k8s-namespace": w.namespace, "managed-by": registrar.ManagedBy, "k8s-cluster": string(system.UID),
		}
		for i := 0; i < len(change); i += 2 {
			m[change[i]] = change[i+1]
		}
		return m
	}
	w.node("n1")
	w.register("n1-virtual", "orphan", meta())
	w.register("n2-virtual", "orphan-elsewhere", meta())
	w.register("n1-virtual", "other-cluster", meta("k8s-cluster", "another"))
	w.register("n1-virtual", "other-manager", meta("managed-by", "somebody"))
	w.register("n1-virtual", "no-pod", meta("pod-name", ""))
	w.register("n1-virtual", "no-meta", nil)
	kept := "no-meta no-pod other-cluster other-manager"
	w.run()
	w.start("one", "10.0.0.1")
	w.await("one=passing")
	w.until("orphans are removed", func() bool { return w.planted() == kept })

	// Consul away, in the middle of changes.
	w.consul.Kill(0)
	if err := w.delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	w.start("two", "10.0.0.2")
	w.until("it is noticed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.Contains(w.logs.String(), "pods have to wait")
	})
	if err := w.consul.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	t.Logf("Consul is back; the catalog is right after %s", w.await("two=passing"))

	// The API server away: nothing is removed.
	if err := w.kube.PauseAPI(); err != nil {
		t.Fatal(err)
	}
	w.register("n1-virtual", "orphan", meta())
	never, tick := time.NewTimer(8*time.Second), time.NewTicker(100*time.Millisecond)
	defer never.Stop()
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-never.C:
			waiting = false
		case <-tick.C:
			if !strings.Contains(w.planted(), "orphan") {
				t.Fatal("an instance was removed though nobody could say that its pod is gone")
			}
		}
	}
	if err := w.kube.ResumeAPI(); err != nil {
		t.Fatal(err)
	}
	w.until("the orphan is removed", func() bool { return w.planted() == kept })
	w.await("two=passing")
}

// TestRegistrarScale registers many pods at once and deregisters some of them.
func TestRegistrarScale(t *testing.T) {
	full := os.Getenv(registrarScaleVar) != ""
	if !full {
		t.Parallel()
	}
	pods, gone := 200, 40
	if full {
		pods, gone = 5000, 1000
	}
	w := newCatalogWorld(t)
	const nodes = 20
	for i := range nodes {
		w.node(fmt.Sprintf("n%d", i))
	}
	r := w.run()
	w.each(pods, func(ctx context.Context, i int) error {
		_, err := w.pod(ctx, fmt.Sprintf("pod-%d", i), fmt.Sprintf("n%d", i%nodes))
		return err
	})
	start := time.Now()
	w.each(pods, func(ctx context.Context, i int) error {
		return w.status(ctx, fmt.Sprintf("pod-%d", i), fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250), corev1.ConditionTrue)
	})
	t.Logf("%d pods have got their addresses after %s", pods, time.Since(start).Round(time.Millisecond))
	w.awaitCount(pods)
	took := time.Since(start)
	t.Logf("%d pods were registered in %s", pods, took.Round(time.Millisecond))
	if full && took > time.Minute {
		t.Error("that is more than a minute")
	}
	start = time.Now()
	w.each(gone, func(ctx context.Context, i int) error { return w.delete(ctx, fmt.Sprintf("pod-%d", i)) })
	w.awaitCount(pods - gone)
	took = time.Since(start)
	t.Logf("%d pods were deleted and deregistered in %s", gone, took.Round(time.Millisecond))
	if full && took > 15*time.Second {
		t.Error("that is more than 15 seconds")
	}
	if n := r.sum(t, "errors_total", ""); n > 0 {
		t.Errorf("%v errors on the way", n)
	}
}

// each calls do for the numbers below n, a few at a time.
func (w *catalogWorld) each(n int, do func(context.Context, int) error) {
	w.t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				if err := do(w.t.Context(), i); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func (w *catalogWorld) awaitCount(want int) {
	w.t.Helper()
	limit, tick := time.NewTimer(5*time.Minute), time.NewTicker(200*time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for {
		counts := [2]int{}
		for i, service := range []string{"static-server", "static-server-sidecar-proxy"} {
			list, _, err := w.admin.Catalog().Service(service, "", nil)
			if err != nil {
				w.t.Fatal(err)
			}
			counts[i] = len(list)
		}
		if counts == [2]int{want, want} {
			return
		}
		select {
		case <-limit.C:
			w.t.Fatalf("there are %v instances, not %d of each", counts, want)
		case <-tick.C:
		}
	}
}

var _ io.Writer = (*catalogWorld)(nil)
