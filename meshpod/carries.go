// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ManagedBy is the value of [LabelManagedBy] on pods that the webhook injected.
const ManagedBy = "podplane-injector"

// PortHealth begins the name of the port at which the kubelet looks at a
// dataplane; the index of its service is behind.
const PortHealth = "proxy-health-"

// Carries tells whether the pod has a dataplane that the webhook put there: its
// labels say so, and so do its containers. Labels alone prove nothing, because
// anybody who makes a pod can write them, and consul-k8s writes the same status.
//
// It reads names, ports, restart policies and readiness probes of containers and
// no more, so that it gives the same of a pod in a cache that keeps only these.
// It is no guard against one who writes a whole container like the webhook's:
// what that one may be in the mesh, Consul's ACLs decide.
func Carries(pod *corev1.Pod) bool {
	if pod.Labels[LabelInjectStatus] != StatusInjected || pod.Labels[LabelManagedBy] != ManagedBy {
		return false
	}
	return Dataplanes(pod) > 0
}

// Dataplanes counts the containers in the shape that the webhook writes, one for
// each service; 0 if they are not those of the services from the first on.
func Dataplanes(pod *corev1.Pod) int {
	seen := map[int]bool{}
	note := func(c *corev1.Container) {
		if i, ok := dataplaneOf(c); ok {
			seen[i] = true
		}
	}
	for i := range pod.Spec.Containers {
		note(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			note(c)
		}
	}
	for i := range len(seen) {
		if !seen[i] {
			return 0
		}
	}
	return len(seen)
}

// dataplaneOf is the index of the service whose dataplane a container is.
func dataplaneOf(c *corev1.Container) (index int, ok bool) {
	if c.Name != ContainerDataplane && !strings.HasPrefix(c.Name, ContainerDataplane+"-") || c.ReadinessProbe == nil {
		return 0, false
	}
	for _, p := range c.Ports {
		text, found := strings.CutPrefix(p.Name, PortHealth)
		i, err := strconv.Atoi(text)
		if found && err == nil && i >= 0 && i < MaxServices && (int(p.ContainerPort) == portPublic+i || int(p.ContainerPort) == portReady+i) {
			return i, true
		}
	}
	return 0, false
}
