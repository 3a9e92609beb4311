// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

// CacheOptions are those of the manager that [Add] is given. They bound its memory: of the cluster's pods only injected
// ones are kept, of the EndpointSlices only those that Kubernetes did not make from a selector, and of all objects only
// what is used here.
func CacheOptions() cache.Options {
	injected := labels.SelectorFromSet(labels.Set{
		meshpod.LabelInjectStatus: meshpod.StatusInjected, meshpod.LabelManagedBy: meshpod.ManagedBy,
	})
	manual, err := labels.Parse(discoveryv1.LabelManagedBy + "!=endpointslice-controller.k8s.io")
	if err != nil {
		panic(err) // a constant
	}
	return cache.Options{
		DefaultTransform: strip,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:                {Label: injected, Transform: strip},
			&discoveryv1.EndpointSlice{}: {Label: manual, Transform: strip},
			&corev1.Service{}:            {Transform: strip},
		},
	}
}

// strip drops what the registrar does not read. Its input is the cache's own.
func strip(in any) (any, error) {
	if o, ok := in.(metav1.Object); ok {
		o.SetManagedFields(nil)
	}
	switch o := in.(type) {
	case *corev1.Pod:
		stripPod(o)
	case *corev1.Service:
		o.Status = corev1.ServiceStatus{}
		o.Annotations = nil
	case *corev1.Node:
		o.Annotations, o.Spec, o.Status = nil, corev1.NodeSpec{}, corev1.NodeStatus{}
	}
	return in, nil
}

// stripPod keeps of containers what tells the dataplane's from others, and on which node it looks for itself, their ports
// and probes; and of the status what says whether the pod is there and ready.
func stripPod(pod *corev1.Pod) {
	delete(pod.Annotations, corev1.LastAppliedConfigAnnotation)
	delete(pod.Annotations, meshpod.AnnotationCA) // for the pod's own volume, and up to 64 KiB
	spec := corev1.PodSpec{
		NodeName: pod.Spec.NodeName, ServiceAccountName: pod.Spec.ServiceAccountName, HostNetwork: pod.Spec.HostNetwork,
	}
	spec.InitContainers = stripContainers(pod.Spec.InitContainers)
	spec.Containers = stripContainers(pod.Spec.Containers)
	pod.Spec = spec
	status := corev1.PodStatus{
		Phase: pod.Status.Phase, PodIP: pod.Status.PodIP, PodIPs: pod.Status.PodIPs, HostIP: pod.Status.HostIP,
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	status.ContainerStatuses = stripStatuses(pod.Status.ContainerStatuses)
	status.InitContainerStatuses = stripStatuses(pod.Status.InitContainerStatuses)
	pod.Status = status
}

func stripContainers(in []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, 0, len(in))
	for _, c := range in {
		out = append(out, corev1.Container{
			Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy,
			LivenessProbe: c.LivenessProbe, ReadinessProbe: c.ReadinessProbe, StartupProbe: c.StartupProbe,
			Env: nodeVariable(c),
		})
	}
	return out
}

// nodeVariable is the variable by which a dataplane looks for itself on a node of the catalog; nil if there is none.
func nodeVariable(c corev1.Container) []corev1.EnvVar {
	for _, v := range c.Env {
		if v.Name == "DP_PROXY_NODE_NAME" || v.Name == "DP_SERVICE_NODE_NAME" {
			return []corev1.EnvVar{{Name: v.Name, Value: v.Value}}
		}
	}
	return nil
}

// stripStatuses keeps whether containers have ended.
func stripStatuses(in []corev1.ContainerStatus) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(in))
	for _, s := range in {
		kept := corev1.ContainerStatus{Name: s.Name}
		if s.State.Terminated != nil {
			kept.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: s.State.Terminated.ExitCode}
		}
		out = append(out, kept)
	}
	return out
}
