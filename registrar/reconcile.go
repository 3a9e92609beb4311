// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// cacheLag is how long to wait for a cache that is known to be behind the API server.
const cacheLag = time.Second

// reconciler brings the catalog up to date, one pod at a time.
type reconciler struct {
	cfg     Config
	cached  client.Reader // pods, Services, slices and nodes; synced
	live    client.Reader // the API server
	catalog *catalog
	tokens  *tokens
	metrics *metrics
	log     hclog.Logger

	mu sync.Mutex
	// seen are the pods that the cache had. Their absence from it was reported by the API server.
	seen map[types.NamespacedName]types.UID
	// told is what was last logged of a pod, so that it is logged once.
	told map[types.NamespacedName]string
	// away is for what all pods wait.
	away map[system]outage
}

// Reconcile makes the catalog hold what a pod asks for, or nothing of it if it is gone. An error has it called again,
// each time later.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if ctx.Err() != nil { // the rest of the queue at the end
		return reconcile.Result{}, nil
	}
	start, answers := time.Now(), r.catalog.answers.Load()
	again, err := r.reconcile(ctx, request.NamespacedName)
	r.metrics.reconciles.Observe(time.Since(start).Seconds())
	if err != nil {
		if ctx.Err() != nil {
			return reconcile.Result{}, nil // the end of the process, or of the leadership
		}
		r.metrics.errors.WithLabelValues("reconcile", reason(err)).Inc()
		r.failed(request.NamespacedName, err)
		return reconcile.Result{}, err
	}
	if r.catalog.answers.Load() != answers {
		r.answered(consul)
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

func (r *reconciler) reconcile(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	pod := &corev1.Pod{}
	err = r.cached.Get(ctx, key, pod, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err):
		return r.absent(ctx, key)
	case err != nil:
		return 0, fmt.Errorf("read pod: %w", err)
	}
	r.mu.Lock()
	r.seen[key] = pod.UID
	r.mu.Unlock()
	state, err := r.want(ctx, pod, time.Now())
	if err != nil {
		return 0, err
	}
	if current, err := r.current(ctx, pod); err != nil || !current {
		return cacheLag, err
	}
	r.revoke(r.replaced(pod))
	switch {
	case state.keep:
		err = r.catalog.keepStatus(ctx, pod, state.status, state.output)
	case len(state.instances) > 0:
		var wrote bool
		if wrote, err = r.catalog.apply(ctx, state.instances); wrote && err == nil {
			r.registered(key, state)
		}
	}
	if err != nil {
		return 0, err
	}
	if err := r.removeRest(ctx, pod, state); err != nil {
		return 0, err
	}
	r.tell(key, state.note, state.detail) // at last, or it would alternate with what fails
	return max(state.again, 0), nil
}

// current says whether the cache is as new as the catalog. Only a cache that lags behind one that another process had
// shows a pod whose name has a newer pod in the catalog.
func (r *reconciler) current(ctx context.Context, pod *corev1.Pod) (bool, error) {
	if len(r.replaced(pod)) == 0 {
		return true, nil
	}
	live, err := r.find(ctx, client.ObjectKeyFromObject(pod))
	return live != nil && live.UID == pod.UID, err
}

// find asks the API server for a pod; nil means that there is none.
func (r *reconciler) find(ctx context.Context, key types.NamespacedName) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	pod := &corev1.Pod{}
	err := r.live.Get(ctx, key, pod)
	if err == nil || apierrors.IsNotFound(err) {
		r.answered(kubernetes)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, &kubeError{err}
	}
	return pod, nil
}

// removeRest deregisters what a pod no longer asks for, and what is left of earlier pods of its name.
func (r *reconciler) removeRest(ctx context.Context, pod *corev1.Pod, state state) error {
	wanted := map[place]bool{}
	for _, w := range state.instances {
		wanted[w.place] = true
	}
	var rest, earlier []record
	for _, rec := range r.catalog.memory.of(client.ObjectKeyFromObject(pod)) {
		switch {
		case wanted[rec.place]:
		case rec.uid != pod.UID:
			earlier = append(earlier, rec)
		case !state.wait && !state.keep:
			rest = append(rest, rec)
		}
	}
	if err := r.deregister(ctx, earlier, "replaced by a pod of the same name"); err != nil {
		return err
	}
	if len(state.instances) > 0 { // the pod stays registered, with fewer services or other IDs
		return r.catalog.remove(ctx, rest)
	}
	if state.ended {
		r.revoke(rest)
	}
	return r.deregister(ctx, rest, state.reason)
}

// revoke has the tokens deleted of pods of which nothing runs any more. It comes before their removal from the catalog,
// after which nobody would know of them if it fails half-way.
func (r *reconciler) revoke(records []record) {
	for _, rec := range records {
		r.tokens.add(rec.namespace, rec.uid)
	}
}

// deregister removes all records of a pod that is not to be in the catalog.
func (r *reconciler) deregister(ctx context.Context, records []record, why string) error {
	if len(records) == 0 {
		return nil
	}
	if err := r.catalog.remove(ctx, records); err != nil {
		return err
	}
	r.metrics.deregistrations.Inc()
	first := records[0]
	r.log.Info("deregistered pod", "pod", first.pod, "service", first.service, "node", first.node, "reason", why)
	return nil
}

// replaced returns the records of earlier pods with a pod's name. There is one pod of a name at a time, so they are gone.
func (r *reconciler) replaced(pod *corev1.Pod) []record {
	return slices.DeleteFunc(r.catalog.memory.of(client.ObjectKeyFromObject(pod)),
		func(rec record) bool { return rec.uid == pod.UID })
}

// absent deregisters a pod that is not in the cache. If it was never there, the API server is asked whether it is gone.
func (r *reconciler) absent(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	records := r.catalog.memory.of(key)
	r.mu.Lock()
	seen := r.seen[key]
	r.mu.Unlock()
	proved := seen != ""
	for _, rec := range records {
		proved = proved && rec.uid == seen
	}
	if len(records) > 0 && !proved {
		live, err := r.find(ctx, key)
		if err != nil {
			return 0, err
		}
		if live != nil && injected(live) {
			return cacheLag, nil
		}
	}
	r.revoke(records)
	if err := r.deregister(ctx, records, "gone"); err != nil {
		return 0, err
	}
	r.mu.Lock()
	delete(r.seen, key)
	delete(r.told, key)
	r.mu.Unlock()
	return 0, nil
}
