// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

// drainMargin is how long after its time to end a pod that was told to stays registered. Kubernetes kills it at that
// time; one that is still there afterwards is on a node that does not answer.
const drainMargin = 5 * time.Second

// state is how a pod should be in the catalog.
type state struct {
	// instances are what should be there. Without any, reason says why.
	instances []instance
	reason    string
	// keep leaves what is registered as it is, but for the status of its checks.
	keep bool
	// wait leaves everything as it is: not enough is known yet.
	wait bool
	// ended says that nothing of the pod runs any more, so its tokens are of no use.
	ended bool
	// status and output are those of the checks.
	status, output string
	// again is when to look again though nothing changed; 0 is never.
	again time.Duration
	// note is what people should know of, and detail what exactly.
	note, detail string
}

// want finds out how a pod of the cache should be in the catalog.
func (r *reconciler) want(ctx context.Context, pod *corev1.Pod, now time.Time) (state, error) {
	if ended(pod) {
		return state{reason: "ended", ended: true}, nil
	}
	var s state
	if t := pod.DeletionTimestamp; t != nil {
		if s.again = t.Add(drainMargin).Sub(now); s.again <= 0 {
			return state{reason: "its time to end is over"}, nil
		}
	}
	if pod.Spec.NodeName == "" || pod.Status.PodIP == "" || pod.Status.HostIP == "" {
		s.wait = true
		return s, nil
	}
	s.status, s.output = readiness(pod)
	asks, problems := meshpod.Parse(pod, r.cfg.Defaults)
	if err := problems.Err(); err != nil { // admission would have refused them: they were changed since
		s.keep, s.note, s.detail = true, "a pod's annotations are not valid any more, what is registered stays", oneLine(err)
		return s, nil
	}
	member, err := memberOf(ctx, r.cached, pod)
	if err != nil {
		return s, err
	}
	if member.ignored {
		s.reason = "its service asks to be ignored"
		return s, nil
	}
	if i := nameless(asks, member); i >= 0 {
		s.reason, s.note = "nothing names its service", "a pod is not registered, nothing names its service"
		s.detail = fmt.Sprintf("neither the annotation %s, nor a Kubernetes Service, nor a ServiceAccount other than default",
			meshpod.AnnotationService)
		return s, nil
	}
	if len(member.others) > 0 && asks.Services[0].Name == "" {
		s.note = "a pod belongs to several services, the oldest names it"
		s.detail = fmt.Sprintf("%s is taken, not %s; the annotations %s or %s can decide", member.service,
			strings.Join(member.others, ", "), meshpod.AnnotationService, meshpod.AnnotationKubernetesService)
	}
	locality, err := r.locality(ctx, pod.Spec.NodeName)
	if err != nil {
		return s, err
	}
	s.instances, err = r.catalog.desired(subject{
		pod: pod, asks: asks, member: member, locality: locality, status: s.status, output: s.output,
	})
	return s, err
}

// readiness is the status of a pod's checks, and a sentence that says why.
func readiness(pod *corev1.Pod) (status, output string) {
	name := "Pod " + pod.Namespace + "/" + pod.Name
	if pod.DeletionTimestamp != nil {
		return api.HealthCritical, name + " is being deleted"
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return api.HealthPassing, name + " is ready"
		}
	}
	return api.HealthCritical, name + " is not ready"
}

// locality is the region and zone of a Kubernetes node; nil if it has none. Consul takes no zone without a region.
func (r *reconciler) locality(ctx context.Context, name string) (*api.Locality, error) {
	if !r.cfg.Locality {
		return nil, nil //nolint:nilnil // none is no error
	}
	node := &corev1.Node{}
	err := r.cached.Get(ctx, types.NamespacedName{Name: name}, node, client.UnsafeDisableDeepCopy)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read node: %w", err)
	}
	region := node.Labels[corev1.LabelTopologyRegion]
	if err != nil || region == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	return &api.Locality{Region: region, Zone: node.Labels[corev1.LabelTopologyZone]}, nil
}

// injected tells whether the webhook made a pod part of the mesh.
func injected(pod *corev1.Pod) bool {
	return pod.Labels[meshpod.LabelInjectStatus] == meshpod.StatusInjected
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
