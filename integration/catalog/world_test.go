// SPDX-License-Identifier: MPL-2.0

package catalog

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
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

// catalogWorld is a cluster and a catalog, both real, with a registrar between them that is part of the test.
type catalogWorld struct {
	t         *testing.T
	kube      *kubetest.Cluster
	namespace string
	consul    *consultest.Cluster
	admin     *api.Client
	own       *api.Client   // with the rights that bootstrap-acl gives the companion
	sweep     time.Duration // the registrar's interval

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
	w := &catalogWorld{t: t, kube: kube, sweep: 2 * time.Second, consul: consultest.New(t, consultest.Options{ACL: true})}
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
		SweepInterval: w.sweep, Logger: hclog.New(&hclog.LoggerOptions{Output: w, Level: hclog.Debug}),
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

var _ io.Writer = (*catalogWorld)(nil)
