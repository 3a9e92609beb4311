// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// newPod has the annotations, and one container with ports http 8080 and
// metrics 9102.
func newPod(annotations map[string]string) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace = "web-0", "shop"
	pod.Annotations = maps.Clone(annotations)
	pod.Spec.ServiceAccountName = "web"
	pod.Spec.Containers = []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{
		{Name: "http", ContainerPort: 8080}, {Name: "metrics", ContainerPort: 9102},
	}}}
	return pod
}

// mustParse fails the test if the annotations have an error.
func mustParse(t *testing.T, annotations map[string]string) Pod {
	t.Helper()
	p, problems := Parse(newPod(annotations), Standard())
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

// report is all problems, one a line.
func report(problems Problems) string {
	var b strings.Builder
	for _, e := range problems.Errors {
		b.WriteString("error: " + e.String() + "\n")
	}
	for _, w := range problems.Warnings {
		b.WriteString("warning: " + w.String() + "\n")
	}
	return b.String()
}
