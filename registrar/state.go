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
	s.status, s.output = readiness(pod)
	if pod.Spec.NodeName == "" {
		s.wait = true
		return s, nil
	}
	if why, err := r.outsider(ctx, pod); err != nil || why != "" {
		s.reason, s.note, s.detail = why, "a pod says it is injected and is not registered", why
		return s, err
	}
	if pod.Status.PodIP == "" || pod.Status.HostIP == "" { // not yet, or not any more: its node may be starting anew
		s.keep = true
		return s, nil
	}
	asks, problems := meshpod.Parse(pod, r.cfg.Defaults)
	if err := problems.Err(); err != nil { // admission would have refused them: they were changed since
		s.keep, s.note, s.detail = true, "a pod's annotations are not valid any more, what is registered stays", oneLine(err)
		return s, nil
	}
	if id := foreignID(pod, asks); id != "" {
		s.reason, s.note = "its ID may be another pod's", "a pod is not registered, its ID may be another pod's"
		s.detail = fmt.Sprintf("%s is an ID as pods have them that are not of the form %s", id, asks.IDForm)
		return s, nil
	}
	member, err := memberOf(ctx, r.cached, pod)
	if err != nil {
		return s, err
	}
	return r.compose(ctx, s, subject{pod: pod, asks: asks, member: member})
}

// compose finishes a state with what is registered for a pod, if something names its services.
func (r *reconciler) compose(ctx context.Context, s state, of subject) (state, error) {
	asks, member := of.asks, of.member
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
	if name := asks.NameOf(asks.Services[0], member.service); r.cfg.AccountsAreServices && name != asks.ServiceAccount {
		s.note = "a pod's dataplane cannot log in, its ServiceAccount has another name than its service"
		s.detail = fmt.Sprintf("the ServiceAccount is %s, the service %s", asks.ServiceAccount, name)
	}
	if stray := r.strayed(of.pod, asks); stray != "" {
		s.note = "a pod's dataplane does not find itself in the catalog, the settings were changed after it was injected; replace the pod"
		s.detail = stray
	}
	var err error
	if of.locality, err = r.locality(ctx, of.pod.Spec.NodeName); err != nil {
		return s, err
	}
	of.status, of.output = s.status, s.output
	s.instances, err = r.catalog.desired(of)
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

// injected tells whether a pod's labels say that the webhook made it part of the mesh, so that the cache has it.
func injected(pod *corev1.Pod) bool {
	return pod.Labels[meshpod.LabelInjectStatus] == meshpod.StatusInjected && pod.Labels[meshpod.LabelManagedBy] == meshpod.ManagedBy
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
