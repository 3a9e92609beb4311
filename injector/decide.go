// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
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
	if isInjected(pod) {
		return verdict{}
	}
	value := strings.TrimSpace(pod.Annotations[meshpod.AnnotationInject])
	asked, err := strconv.ParseBool(value)
	if why := exempt(pod, namespace, cfg); why != "" {
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
	case len(pod.Spec.Containers) == 0 || pod.Name == "" && pod.GenerateName == "":
		return "it is no pod that could run" // which the API server will say
	default:
		return ""
	}
}

func names(list []string, namespace string) bool {
	return slices.Contains(list, anyNamespace) || slices.Contains(list, namespace)
}

// isInjected tells whether somebody has injected the pod, this program or another.
func isInjected(pod *corev1.Pod) bool {
	return pod.Annotations[meshpod.AnnotationInjectStatus] != "" || pod.Labels[meshpod.LabelInjectStatus] != ""
}
