// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Failed pods are tried again after this long, doubled each time. The maximum is what an outage of Consul can cost
// after its end.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
)

// Add makes the registrar a part of a manager, where it runs while the manager is the leader. The manager's cache must
// have been made with [CacheOptions]. ctx bounds only the set-up, which may ask the API server for the cluster's UID.
// The rest.Config of the manager should allow some 100 requests a second: each pod that went away while nobody watched
// costs one.
func Add(ctx context.Context, mgr manager.Manager, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("registrar: %w", err)
	}
	if cfg.Cluster == "" {
		uid, err := clusterUID(ctx, mgr.GetAPIReader(), cfg.Timeout)
		if err != nil {
			return fmt.Errorf("registrar: name the cluster: %w", err)
		}
		cfg.Cluster = uid
	}
	r, err := newReconciler(cfg, mgr.GetCache(), mgr.GetAPIReader())
	if err != nil {
		return fmt.Errorf("registrar: %w", err)
	}
	index := func(o client.Object) []string { return podsIn(o.(*discoveryv1.EndpointSlice)) }
	if err := mgr.GetFieldIndexer().IndexField(ctx, &discoveryv1.EndpointSlice{}, slicesByPod, index); err != nil {
		return fmt.Errorf("registrar: index endpoint slices: %w", err)
	}
	if cfg.Locality { // fill the cache before the first pod
		if _, err := mgr.GetCache().GetInformer(ctx, &corev1.Node{}); err != nil {
			return fmt.Errorf("registrar: watch nodes: %w", err)
		}
	}
	s := &sweeper{reconciler: r, queue: make(chan queue, 1)}
	if err := r.control(mgr, s); err != nil {
		return fmt.Errorf("registrar: %w", err)
	}
	for _, part := range []manager.Runnable{s, r.tokens} {
		if err := mgr.Add(part); err != nil {
			return fmt.Errorf("registrar: %w", err)
		}
	}
	return nil
}

func newReconciler(cfg Config, cached, live client.Reader) (*reconciler, error) {
	known := newMemory()
	m, err := newMetrics(cfg.Registerer, func() float64 { return float64(known.size()) })
	if err != nil {
		return nil, err
	}
	return &reconciler{
		cfg: cfg, cached: cached, live: live, metrics: m, log: cfg.Logger,
		catalog: &catalog{cfg: cfg, memory: known, namespaces: newNamespaces(cfg), metrics: m, log: cfg.Logger},
		tokens:  newTokens(cfg, m),
		seen:    map[types.NamespacedName]types.UID{},
		told:    map[types.NamespacedName]string{},
		away:    map[system]outage{},
	}, nil
}

// control adds the controller: what it watches, and which pods an event concerns.
func (r *reconciler) control(mgr manager.Manager, s *sweeper) error {
	services := handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { r.selected(ctx, q, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { r.selected(ctx, q, e.ObjectOld, e.ObjectNew) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { r.selected(ctx, q, e.Object) },
	}
	slices := handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { named(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { named(q, e.ObjectOld, e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { named(q, e.Object) },
	}
	catch := source.Func(func(_ context.Context, q queue) error {
		s.queue <- q
		return nil
	})
	return builder.ControllerManagedBy(mgr).Named("registrar").
		For(&corev1.Pod{}).
		Watches(&corev1.Service{}, services).
		Watches(&discoveryv1.EndpointSlice{}, slices).
		WatchesRawSource(catch).
		WithOptions(controller.Options{
			// What fails is logged by the reconciler, which knows what has been said.
			LogConstructor:          func(*reconcile.Request) logr.Logger { return logr.Discard() },
			MaxConcurrentReconciles: r.cfg.Workers,
			UsePriorityQueue:        new(bool),
			NewQueue:                newQueue,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost),
		}).
		Complete(r)
}

// selected enqueues the pods that a Service selects, or did before the event.
func (r *reconciler) selected(ctx context.Context, q queue, objects ...client.Object) {
	for _, o := range objects {
		pods, err := podsOf(ctx, r.cached, o.(*corev1.Service))
		if err != nil { // a cache that ended
			r.log.Warn("cannot find the pods of a service", "service", client.ObjectKeyFromObject(o), "error", err)
		}
		for _, key := range pods {
			q.Add(reconcile.Request{NamespacedName: key})
		}
	}
}

// named enqueues the pods that a slice names, or did before the event.
func named(q queue, objects ...client.Object) {
	for _, o := range objects {
		for _, name := range podsIn(o.(*discoveryv1.EndpointSlice)) {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}})
		}
	}
}

// clusterUID is the UID of kube-system: every cluster has that namespace, and no two have its UID in common.
func clusterUID(ctx context.Context, live client.Reader, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var ns corev1.Namespace
	if err := live.Get(ctx, types.NamespacedName{Name: metav1.NamespaceSystem}, &ns); err != nil {
		return "", err
	}
	return string(ns.UID), nil
}

// ended says whether nothing of a pod will ever run again.
func ended(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return true
	}
	// One that is kept by a finalizer, or for a kubelet that has not told the phase yet.
	statuses := slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses)
	return pod.DeletionTimestamp != nil && len(statuses) > 0 &&
		!slices.ContainsFunc(statuses, func(s corev1.ContainerStatus) bool { return s.State.Terminated == nil })
}
