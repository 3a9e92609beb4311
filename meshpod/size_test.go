// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestStrangeNames: of names nobody has looked yet how long they are, and they must
// not be multiplied by what else a pod has many of. Not parallel: it counts what is
// allocated.
func TestStrangeNames(t *testing.T) {
	long, many := strings.Repeat("x", 100<<10), strings.TrimSuffix(strings.Repeat("nowhere,", maxList), ",")
	ports := make([]corev1.ContainerPort, 2000)
	for i := range ports {
		ports[i].ContainerPort = int32(1024 + i)
	}
	upstreams := make([]string, maxList)
	for i := range upstreams {
		upstreams[i] = "u" + itoa(i) + ":" + itoa(1024+i)
	}
	named := corev1.Container{Name: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}, {Name: long, ContainerPort: 81}}}
	for name, tt := range map[string]struct {
		annotations map[string]string
		container   corev1.Container
		want        string
	}{
		"container": {
			map[string]string{AnnotationUpstreams: strings.Join(upstreams, ",")}, corev1.Container{Name: long, Ports: ports},
			"has a local port that is taken: port of container xxx",
		},
		"ports":        {map[string]string{AnnotationServicePort: many}, named, "the containers name http, and more"},
		"the upstream": {map[string]string{AnnotationUpstreams: long + ":1024"}, named, "must"},
	} {
		pod := newPod(tt.annotations)
		pod.Spec.Containers = []corev1.Container{tt.container}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, problems := Parse(pod, Standard())
		runtime.ReadMemStats(&after)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %.300v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
			t.Errorf("%s: %d MiB", name, took>>20)
		}
	}
}
