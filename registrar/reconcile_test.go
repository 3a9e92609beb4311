// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
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
