// SPDX-License-Identifier: MPL-2.0

package catalog

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"podplane/registrar"
)

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

	w.mu.Lock()
	if text := w.logs.String(); strings.Contains(text, "Reconciler error") {
		t.Error("each try of each pod is logged")
	}
	w.mu.Unlock()

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
