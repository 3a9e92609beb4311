// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podplane/meshpod"
)

// anyNamespace stands for all of them in lists.
const anyNamespace = "*"

// verdict says whether a pod is injected.
type verdict struct {
	inject bool
	// why is the reason for leaving a pod alone that asked for more; empty if it
	// did not ask.
	why string
}

// decide tells whether a pod is injected. An unreadable annotation is a problem
// only where it would have decided.
func decide(pod *corev1.Pod, namespace string, cfg *Config, problems *meshpod.Problems) verdict {
	why := exempt(pod, namespace, cfg)
	if name, value := claim(pod); name != "" {
		checkClaim(pod, meshpod.Problem{Name: name, Value: value, Reason: why}, cfg, problems)
		return verdict{}
	}
	value := strings.TrimSpace(pod.Annotations[meshpod.AnnotationInject])
	asked, err := strconv.ParseBool(value)
	if why != "" {
		if !asked {
			why = ""
		}
		return verdict{why: why}
	}
	switch {
	case value == "":
		return verdict{inject: cfg.DefaultInject}
	case err != nil:
		problems.Errorf(meshpod.AnnotationInject, value, "must be true or false")
		return verdict{inject: true}
	default:
		return verdict{inject: asked}
	}
}

// exempt tells why pods like this one are never injected; empty if they may be.
func exempt(pod *corev1.Pod, namespace string, cfg *Config) string {
	switch {
	case namespace == metav1.NamespaceSystem || namespace == metav1.NamespacePublic:
		return fmt.Sprintf("no pod of the namespace %s is injected", namespace)
	case names(cfg.DenyNamespaces, namespace):
		return fmt.Sprintf("podplane-injector is told not to inject pods of the namespace %s", namespace)
	case !names(cfg.AllowNamespaces, namespace):
		return fmt.Sprintf("podplane-injector is not told to inject pods of the namespace %s", namespace)
	case pod.Annotations[corev1.MirrorPodAnnotationKey] != "":
		return "it mirrors a static pod, which cannot be changed here"
	case pod.Spec.HostNetwork:
		return "a pod on the host's network is not injected: the dataplane's ports would be the node's"
	case len(pod.Spec.Containers) == 0 || pod.Name == "" && pod.GenerateName == "" || tooLong(pod.Annotations):
		return "it is no pod that could run" // which the API server will say
	default:
		return ""
	}
}

// tooLong tells whether annotations are longer than a pod's may be:
// https://pkg.go.dev/k8s.io/apimachinery/pkg/api/validation#TotalAnnotationSizeLimitB.
func tooLong(annotations map[string]string) bool {
	total := 0
	for name, value := range annotations {
		total += len(name) + len(value)
	}
	return total > validation.TotalAnnotationSizeLimitB
}

func names(list []string, namespace string) bool {
	return slices.Contains(list, anyNamespace) || slices.Contains(list, namespace)
}

// claim is what says that the pod has been injected, and its value; empty if
// nothing does.
func claim(pod *corev1.Pod) (name, value string) {
	if value = pod.Annotations[meshpod.AnnotationInjectStatus]; value != "" {
		return meshpod.AnnotationInjectStatus, value
	}
	if value = pod.Labels[meshpod.LabelInjectStatus]; value != "" {
		return meshpod.LabelInjectStatus, value
	}
	return "", ""
}

// checkClaim refuses a pod that says it is injected and is not: it would be in
// the mesh without a dataplane. The claim's reason is why pods like it are never
// injected, if they are not: then it means nothing to anybody, and is no harm.
func checkClaim(pod *corev1.Pod, claimed meshpod.Problem, cfg *Config, problems *meshpod.Problems) {
	const must = "is written by podplane-injector and must not be set"
	by := pod.Labels[meshpod.LabelManagedBy]
	switch {
	case by != "" && by != meshpod.ManagedBy: // another's, as of consul-k8s beside this
	case meshpod.Carries(pod) && containersOf(pod) > maxContainers: // it could not have been injected with so many
		problems.Errorf(claimed.Name, claimed.Value, must)
	case meshpod.Carries(pod):
		asks, _ := meshpod.Parse(pod, cfg.Defaults)
		if has := meshpod.Dataplanes(pod); claimed.Reason == "" && has != len(asks.Services) {
			problems.Errorf(claimed.Name, claimed.Value, must+": the pod has %d of its dataplanes, for %d services", has, len(asks.Services))
		}
	case claimed.Reason != "":
		problems.Warnf(claimed.Name, claimed.Value, "has no effect: %s", claimed.Reason)
	default:
		problems.Errorf(claimed.Name, claimed.Value, must+": the pod has none of its dataplanes")
	}
}
