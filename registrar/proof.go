// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

// outsider says why a pod is not registered though its labels say that it is of the mesh; empty if it is. Labels are
// written by anybody who makes a pod, and the webhook may have been off or left out when this one was made.
func (r *reconciler) outsider(ctx context.Context, pod *corev1.Pod) (string, error) {
	switch {
	case pod.Spec.HostNetwork:
		return "it is on the host's network", nil
	case !meshpod.Carries(pod):
		return "it has no dataplane of the webhook's", nil
	case r.cfg.Allowed == nil || r.cfg.Allowed(pod.Namespace):
		return "", nil
	}
	// One that was registered before the settings changed goes on.
	release, err := r.catalog.open(ctx, r.catalog.nodeOf(pod))
	if err != nil {
		return "", err
	}
	defer release()
	known := r.catalog.memory.of(client.ObjectKeyFromObject(pod))
	if slices.ContainsFunc(known, func(rec record) bool { return rec.uid == pod.UID }) {
		return "", nil
	}
	return "no pod of its namespace is injected", nil
}

// namespacedID is what IDs of the form namespaced look like, to Consul, which does not tell upper case from lower.
var namespacedID = regexp.MustCompile(`(?i)^[^.]+\..+-[0-9]+(-sidecar-proxy)?$`)

// foreignID returns an ID that a pod asks for in the form compat and that is another pod's in the form namespaced: that
// form has the namespace in it, but the other one is anything that a pod may be called. Empty if there is none.
func foreignID(pod *corev1.Pod, asks meshpod.Pod) string {
	if asks.IDForm != meshpod.IDCompat {
		return ""
	}
	for _, service := range asks.Services {
		if id := asks.ServiceID(pod.Namespace, pod.Name, service); namespacedID.MatchString(id) {
			return id
		}
	}
	return ""
}

// strayed says in what a pod's dataplane looks for itself elsewhere than where it is registered; empty if in nothing.
// What the webhook told it is not changed any more, the registrar's settings may be.
func (r *reconciler) strayed(pod *corev1.Pod, asks meshpod.Pod) string {
	var out []string
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, v := range nodeVariable(c) {
			suffix, ok := strings.CutPrefix(strings.ReplaceAll(v.Value, "$$", "$"), "$(NODE_NAME)")
			if ok && suffix != r.cfg.NodeSuffix && len(out) == 0 {
				out = append(out, fmt.Sprintf("it looks on the node %s, not %s", pod.Spec.NodeName+suffix, r.catalog.nodeOf(pod)))
			}
		}
	}
	if has, is := tenancy(asks.ConsulNamespace), tenancy(r.cfg.Namespaces.For(pod.Namespace)); has != is {
		out = append(out, fmt.Sprintf("it looks in the Consul namespace %q, not %q", asks.ConsulNamespace, r.cfg.Namespaces.For(pod.Namespace)))
	}
	return strings.Join(out, "; ")
}
