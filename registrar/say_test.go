// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// An outage is told once, of whom it is, and one that comes and goes is not told each time.
func TestOutages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := types.NamespacedName{Name: "one"}, types.NamespacedName{Name: "two"}
	away := &kubeError{apierrors.NewServiceUnavailable("starting")}
	gone := api.StatusError{Code: 500, Body: "no leader"}
	for range 3 {
		w.failed(one, away)
		w.failed(two, fmt.Errorf("register: %w", gone))
		w.answered(consul)
	}
	w.answered(kubernetes)
	for text, want := range map[string]int{
		`will try again: for="the API server"`: 1, "will try again: for=consul": 1, `again: for="the API server"`: 2, "brought up to date again: for=consul": 1,
	} {
		if n := w.logs.count(text); n != want {
			t.Errorf("%q is logged %d times, not %d:\n%s", text, n, want, w.logs.String())
		}
	}
	w.failed(one, &conflictError{owner: "somebody"})
	w.failed(one, &conflictError{owner: "somebody"})
	if n := w.logs.count("belongs to somebody"); n != 1 {
		t.Errorf("a pod's own trouble is logged %d times", n)
	}
}

// The API server's outage is not taken for Consul's, nor its end for the end of the other.
func TestOutageOfTheAPIServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "gone", "u1"))
	if err := w.kube.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.liveErr = apierrors.NewServiceUnavailable("starting")
	if err := w.sweepOnce(); err == nil {
		t.Error("no error")
	}
	w.put(newPod("default", "new", "u2")) // Consul answers
	if w.logs.count("pods have to wait") != 1 || w.logs.count("brought up to date again") != 0 {
		t.Errorf("the log is\n%s", w.logs.String())
	}
	w.liveErr = nil
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	if n := w.logs.count(`brought up to date again: for="the API server"`); n != 1 {
		t.Errorf("the log is\n%s", w.logs.String())
	}
	expectAll(w, both("n1-virtual/default.new-0", "passing"))
}

// The client of Consul drops the status of a transaction that failed.
func TestStatusOfTransactions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Failed request: Permission denied: token lacks": "denied", "Failed request: ACL not found": "denied",
		"Failed request: No cluster leader": "server", "Failed request: rate limit exceeded": "limited", "something else": "other",
	} {
		if got := reason(statusOf(errors.New(text))); got != want {
			t.Errorf("%q is %q, not %q", text, got, want)
		}
	}
	w := newWorld(t)
	pod := w.put(newPod("default", "web", "u1"))
	w.consul.fail = func(r *http.Request, _ bool) int { // as with five thousand pods while there is no leader
		if r.URL.Path == "/v1/txn" {
			return http.StatusInternalServerError
		}
		return 0
	}
	now := ready(corev1.ConditionFalse)
	pod = pod.DeepCopy()
	now(pod)
	if err := w.kube.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if _, err := w.do(client.ObjectKeyFromObject(pod)); err == nil {
		t.Fatal("no error")
	}
	if w.logs.count("pods have to wait") != 1 || w.logs.count("cannot bring the catalog") != 0 {
		t.Errorf("the log is\n%s", w.logs.String())
	}
}

// A pod's own trouble is told once, whatever it is that fails, and its end is no line of its own.
func TestTroubleIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := w.put(newPod("default", "web", "u1"))
	pod.Status.Phase = corev1.PodSucceeded
	if err := w.kube.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	denied := true
	w.consul.fail = func(r *http.Request, _ bool) int {
		if denied && strings.HasPrefix(r.URL.Path, "/v1/catalog/node-services/") {
			return http.StatusForbidden
		}
		return 0
	}
	before := strings.Count(w.logs.String(), "\n")
	for range 3 {
		if _, err := w.do(client.ObjectKeyFromObject(pod)); err == nil {
			t.Fatal("no error")
		}
	}
	if n := strings.Count(w.logs.String(), "\n") - before; n != 1 || w.logs.count("cannot bring the catalog") != 1 {
		t.Errorf("%d lines:\n%s", n, w.logs.String())
	}
	denied = false
	w.must(pod)
	if w.logs.count("[WARN]") != 1 {
		t.Errorf("the log is\n%s", w.logs.String())
	}
}
