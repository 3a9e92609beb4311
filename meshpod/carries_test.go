// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// carrier is a pod as the webhook leaves it, with what [Carries] reads.
func carrier() *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	pod := newPod(nil)
	pod.Labels = map[string]string{LabelInjectStatus: StatusInjected, LabelManagedBy: ManagedBy}
	pod.Spec.InitContainers = []corev1.Container{{
		Name: ContainerDataplane, RestartPolicy: &always, ReadinessProbe: &corev1.Probe{},
		Ports: []corev1.ContainerPort{{Name: "proxy-health-0", ContainerPort: 21000}},
	}}
	return pod
}

func TestCarries(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"native": {func(*corev1.Pod) {}, true},
		"ordinary": {func(p *corev1.Pod) {
			c := p.Spec.InitContainers[0]
			c.RestartPolicy, p.Spec.InitContainers = nil, nil
			p.Spec.Containers = append([]corev1.Container{c}, p.Spec.Containers...)
		}, true},
		"without the health check": {func(p *corev1.Pod) { p.Spec.InitContainers[0].Ports[0].ContainerPort = 20000 }, true},
		"two services": {func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, *p.Spec.InitContainers[0].DeepCopy())
			second := &p.Spec.InitContainers[1]
			second.Name, second.Ports[0].Name, second.Ports[0].ContainerPort = ContainerDataplane+"-admin", "proxy-health-1", 21001
		}, true},

		"only the labels":   {func(p *corev1.Pod) { p.Spec.InitContainers = nil }, false},
		"no labels":         {func(p *corev1.Pod) { p.Labels = nil }, false},
		"of consul-k8s":     {func(p *corev1.Pod) { p.Labels[LabelManagedBy] = "consul-k8s-endpoints-controller" }, false},
		"of nobody":         {func(p *corev1.Pod) { delete(p.Labels, LabelManagedBy) }, false},
		"another status":    {func(p *corev1.Pod) { p.Labels[LabelInjectStatus] = "true" }, false},
		"another name":      {func(p *corev1.Pod) { p.Spec.InitContainers[0].Name = "dataplane" }, false},
		"a name like it":    {func(p *corev1.Pod) { p.Spec.InitContainers[0].Name = "consul-dataplanes" }, false},
		"no probe":          {func(p *corev1.Pod) { p.Spec.InitContainers[0].ReadinessProbe = nil }, false},
		"no port":           {func(p *corev1.Pod) { p.Spec.InitContainers[0].Ports = nil }, false},
		"another port":      {func(p *corev1.Pod) { p.Spec.InitContainers[0].Ports[0].ContainerPort = 8080 }, false},
		"a port's index":    {func(p *corev1.Pod) { p.Spec.InitContainers[0].Ports[0].Name = "proxy-health-x" }, false},
		"an init container": {func(p *corev1.Pod) { p.Spec.InitContainers[0].RestartPolicy = nil }, false},
		"the second's alone": {func(p *corev1.Pod) {
			p.Spec.InitContainers[0].Ports[0] = corev1.ContainerPort{Name: "proxy-health-1", ContainerPort: 21001}
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := carrier()
			tt.change(pod)
			if got := Carries(pod); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
