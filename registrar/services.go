// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

// slicesByPod is the cache's index of EndpointSlices by the pods that they name.
const slicesByPod = "pod"

// membership is what Kubernetes Services say of a pod.
type membership struct {
	// service is the Service that the pod belongs to; empty if there is none.
	service string
	// others are further ones, which do not count.
	others []string
	// ignored says that there are Services, and all of them ask not to be registered.
	ignored bool
}

// memberOf finds the Service of a pod. Selectors are asked, not EndpointSlices, where there is a selector: a slice
// names a pod only some time after the pod got its address, and until then the pod would have another name in the
// mesh. Slices count for Services without a selector. Of several Services the oldest is taken, so that one that is
// added later does not rename a running pod; of those made in the same second, the first by name.
func memberOf(ctx context.Context, reader client.Reader, pod *corev1.Pod) (membership, error) {
	candidates, err := candidatesFor(ctx, reader, pod)
	if err != nil {
		return membership{}, err
	}
	if only := pod.Annotations[meshpod.AnnotationKubernetesService]; only != "" {
		candidates = slices.DeleteFunc(candidates, func(s corev1.Service) bool { return s.Name != only })
		if len(candidates) == 0 {
			return membership{service: only}, nil
		}
	}
	var m membership
	slices.SortFunc(candidates, func(a, b corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, s := range candidates {
		switch {
		case isIgnored(s.Labels):
			m.ignored = true
		case m.service == "":
			m.service = s.Name
		default:
			m.others = append(m.others, s.Name)
		}
	}
	m.ignored = m.ignored && m.service == ""
	return m, nil
}

func candidatesFor(ctx context.Context, reader client.Reader, pod *corev1.Pod) ([]corev1.Service, error) {
	var all corev1.ServiceList
	if err := reader.List(ctx, &all, client.InNamespace(pod.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	var named discoveryv1.EndpointSliceList
	err := reader.List(ctx, &named, client.InNamespace(pod.Namespace), client.MatchingFields{slicesByPod: pod.Name},
		client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list endpoint slices: %w", err)
	}
	ignoring := map[string]bool{} // by service; the label may be on the slice as it may be on Endpoints
	for i := range named.Items {
		slice := &named.Items[i]
		name := slice.Labels[discoveryv1.LabelServiceName]
		ignoring[name] = ignoring[name] || isIgnored(slice.Labels)
	}
	var out []corev1.Service
	for _, s := range all.Items {
		ignored, named := ignoring[s.Name]
		switch {
		case selects(&s, pod):
		case len(s.Spec.Selector) == 0 && named:
			if ignored && !isIgnored(s.Labels) {
				s.Labels = map[string]string{meshpod.LabelServiceIgnore: "true"}
			}
		default:
			continue
		}
		out = append(out, s)
	}
	return out, nil
}

func selects(s *corev1.Service, pod *corev1.Pod) bool {
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return false
	}
	for key, value := range s.Spec.Selector { // and no labels.Selector: every pod asks every Service of its namespace
		if has, ok := pod.Labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

func isIgnored(l map[string]string) bool {
	ignored, _ := strconv.ParseBool(l[meshpod.LabelServiceIgnore])
	return ignored
}

// podsOf returns the pods of the cache that a Service's selector selects.
func podsOf(ctx context.Context, reader client.Reader, s *corev1.Service) ([]types.NamespacedName, error) {
	if len(s.Spec.Selector) == 0 {
		return nil, nil
	}
	var pods corev1.PodList
	err := reader.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels(s.Spec.Selector),
		client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	out := make([]types.NamespacedName, 0, len(pods.Items))
	for i := range pods.Items {
		out = append(out, client.ObjectKeyFromObject(&pods.Items[i]))
	}
	return out, nil
}

// podsIn returns the names of the pods that a slice names.
func podsIn(slice *discoveryv1.EndpointSlice) []string {
	var out []string
	for _, e := range slice.Endpoints {
		if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			out = append(out, e.TargetRef.Name)
		}
	}
	return out
}
