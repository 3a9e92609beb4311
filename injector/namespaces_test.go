// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Whoever asks beforehand gets the answer that a pod would.
func TestAllows(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"all":     {AllowNamespaces: []string{"*"}},
		"none":    {},
		"some":    {AllowNamespaces: []string{"a", "kube-system"}},
		"not all": {AllowNamespaces: []string{"*"}, DenyNamespaces: []string{"b"}},
		"denied":  {AllowNamespaces: []string{"a"}, DenyNamespaces: []string{"*"}},
	} {
		for _, namespace := range []string{"a", "b", "kube-system", "kube-public"} {
			pod := corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
			}
			if got, want := cfg.Allows(namespace), exempt(&pod, namespace, &cfg) == ""; got != want {
				t.Errorf("%s: pods of %s are allowed: %t, but a pod: %t", name, namespace, got, want)
			}
		}
	}
}
