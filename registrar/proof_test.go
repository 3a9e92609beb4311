// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

// What labels say is not believed: of these none is registered, and one line says why.
func TestOutsiders(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(*corev1.Pod)
		config func(*Config)
		why    string
	}{
		"host network": {change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }, why: "host's network"},
		"no dataplane": {change: func(p *corev1.Pod) { p.Spec.InitContainers = nil }, why: "no dataplane"},
		"another name": {change: func(p *corev1.Pod) { p.Spec.InitContainers[0].Name = "sidecar" }, why: "no dataplane"},
		"namespace": {
			config: func(c *Config) { c.Allowed = func(name string) bool { return name != "default" } },
			why:    "no pod of its namespace",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.config != nil {
				w.restart(c.config)
			}
			pod := newPod("default", "web", "u1")
			if c.change != nil {
				c.change(pod)
			}
			cached, err := strip(pod) // as the cache has it
			if err != nil {
				t.Fatal(err)
			}
			w.put(cached.(*corev1.Pod))
			w.must(pod)
			w.expect()
			if n := w.logs.count(c.why); n != 1 {
				t.Errorf("it is logged %d times: %s", n, w.logs.String())
			}
		})
	}
}

// A namespace that is not allowed any more keeps the pods that it has, which run and are followed, and gets no new ones.
func TestNamespaceNotAllowedAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "web", "u1"))
	w.restart(func(c *Config) { c.Allowed = func(string) bool { return false } })
	w.change(pod, ready(corev1.ConditionFalse))
	w.change(pod, func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.9" })
	w.put(newPod("default", "new", "u2"))
	expectAll(w, both("n1-virtual/default.web-0", "critical"))
	if got := w.consul.all()[0].service.Address; got != "10.0.0.9" {
		t.Errorf("the address is %s", got)
	}
	// A pod of the same name is another pod.
	w.remove(pod)
	w.put(newPod("default", "web", "u3"))
	w.expect()
}

// IDs of the form compat are made of names that users choose; none of them may be another pod's.
func TestForgedID(t *testing.T) {
	t.Parallel()
	compat := func(service string) func(*corev1.Pod) {
		return annotate(meshpod.AnnotationIDForm, string(meshpod.IDCompat), meshpod.AnnotationService, service)
	}
	for name, forged := range map[string]*corev1.Pod{
		"a service":        newPod("evil", "default.web", "u9", compat("0")),
		"a proxy":          newPod("evil", "default.web", "u9", compat("0-sidecar-proxy")),
		"in other letters": newPod("evil", "default.web", "u9", compat("0-Sidecar-Proxy")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.create(forged)
			_, _ = w.do(client.ObjectKeyFromObject(forged))
			w.expect()
			w.put(newPod("default", "web", "u1"))
			expectAll(w, both("n1-virtual/default.web-0", "passing"))
		})
	}
	// Nor another one's in the same form, to Consul, which does not tell letters apart.
	w := newWorld(t)
	w.put(newPod("default", "web", "u1", compat("shop")))
	forged := newPod("evil", "web", "u9", compat("SHOP"))
	w.create(forged)
	if _, err := w.do(client.ObjectKeyFromObject(forged)); err == nil || !strings.Contains(err.Error(), "belongs to pod default/web") {
		t.Errorf("got %v", err)
	}
	expectAll(w, both("n1-virtual/web-shop", "passing"))
	// Who has a dot in its name and no number at its end is nobody else.
	w.put(newPod("default", "db.v2", "u2", compat("db")))
	expectAll(w, both("n1-virtual/web-shop", "passing"), both("n1-virtual/db.v2-db", "passing"))
}

// A dataplane looks for itself where the settings were when it was injected. Who changes them is told.
func TestStrayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(newPod("default", "web", "u1"))
	if n := w.logs.count("does not find itself"); n != 0 {
		t.Errorf("it is logged %d times", n)
	}
	w.restart(func(c *Config) { c.NodeSuffix = "-east" })
	pod := newPod("default", "web", "u1")
	w.must(pod)
	w.must(pod)
	if n := w.logs.count("it looks on the node n1-virtual, not n1-east"); n != 1 {
		t.Errorf("it is logged %d times: %s", n, w.logs.String())
	}
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	expectAll(w, both("n1-east/default.web-0", "passing"))

	w = newWorld(t, func(c *Config) { c.Namespaces = meshpod.Destination{Enabled: true, Mirror: true} })
	w.put(newPod("team", "old", "u1"))
	w.put(newPod("team", "new", "u2", annotate(meshpod.AnnotationConsulNamespace, "team")))
	if n := w.logs.count("does not find itself"); n != 1 {
		t.Errorf("it is logged %d times: %s", n, w.logs.String())
	}
}

// With ACLs a dataplane is the service of its ServiceAccount. A Kubernetes Service may name another, after admission.
func TestAccountsAreServices(t *testing.T) {
	t.Parallel()
	for want, on := range []bool{false, true} {
		w := newWorld(t, func(c *Config) { c.AccountsAreServices = on })
		w.put(newPod("default", "web", "u1", func(p *corev1.Pod) { p.Labels["app"] = "other" }))
		w.create(kubeService("shop"))
		pod := w.put(newPod("default", "shop", "u2"))
		w.must(pod)
		if n := w.logs.count("cannot log in"); n != want {
			t.Errorf("on=%t: it is logged %d times: %s", on, n, w.logs.String())
		}
	}
}

// A pod that loses its address, as when its node starts anew, is critical as soon as it is not ready.
func TestAddressIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "web", "u1"))
	w.change(pod, func(p *corev1.Pod) {
		p.Status.PodIP = ""
		ready(corev1.ConditionFalse)(p)
	})
	expectAll(w, both("n1-virtual/default.web-0", "critical"))
}

// The tokens of a pod are deleted also if something fails on the way to its end.
func TestTokensOfHalfAnEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world, *corev1.Pod){
		"gone": func(w *world, p *corev1.Pod) {
			if err := w.kube.Delete(w.t.Context(), p); err != nil {
				w.t.Fatal(err)
			}
		},
		"ended": func(w *world, p *corev1.Pod) {
			p.Status.Phase = corev1.PodSucceeded
			if err := w.kube.Status().Update(w.t.Context(), p); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.AuthMethod = "pods" })
			pod := w.put(newPod("default", "web", "u1"))
			failed := false
			w.consul.fail = func(r *http.Request, done bool) int { // the node cannot be removed the first time
				if r.URL.Path == "/v1/txn" && len(w.consul.instances) == 0 && !done && !failed {
					failed = true
					return http.StatusInternalServerError
				}
				return 0
			}
			end(w, pod)
			if _, err := w.do(client.ObjectKeyFromObject(pod)); err == nil {
				t.Fatal("no error")
			}
			w.must(pod)
			if gone := w.tokens.take(); !gone[""]["u1"] {
				t.Errorf("tokens are to be deleted of %v", gone)
			}
		})
	}
}
