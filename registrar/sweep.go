// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// sweepRetry is how long a sweep that failed waits, if that is less than its interval.
const sweepRetry = 15 * time.Second

// sweeper compares the whole catalog with the pods: at the start, which is a change of the leader, and from time to
// time. It decides nothing: it reads the catalog anew and has all pods reconciled, those that are only in the catalog
// as well.
type sweeper struct {
	*reconciler
	queue chan queue // of the controller, once it runs
}

// NeedLeaderElection has only the leader sweep.
func (*sweeper) NeedLeaderElection() bool { return true }

// Start sweeps until ctx ends.
func (s *sweeper) Start(ctx context.Context) error {
	var q queue
	select {
	case <-ctx.Done():
		return nil
	case q = <-s.queue:
	}
	enqueue := func(request reconcile.Request) { enqueueLater(q, request) }
	said := ""
	for {
		wait := s.cfg.SweepInterval
		err := s.sweep(ctx, enqueue)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = min(wait, sweepRetry)
			s.metrics.sweeps.WithLabelValues("failure").Inc()
			s.metrics.errors.WithLabelValues("sweep", reason(err)).Inc()
			if why := reason(err); why != said {
				said = why
				s.log.Warn("cannot compare the catalog with the pods", "error", oneLine(err), "retry", wait)
			}
		default:
			said = ""
			s.metrics.sweeps.WithLabelValues("success").Inc()
			s.metrics.sweepTime.SetToCurrentTime()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// sweep reads what can be read, and has the pods reconciled even if some of it could not be.
func (s *sweeper) sweep(ctx context.Context, enqueue func(reconcile.Request)) error {
	var errs []error
	nodes, err := s.catalog.syntheticNodes(ctx)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	known, _ := s.catalog.memory.known()
	visited := map[string]bool{}
	for _, name := range append(nodes, known...) {
		if visited[name] {
			continue
		}
		visited[name] = true
		if err := s.catalog.reload(ctx, name); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	var pods corev1.PodList
	if err := s.cached.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return errors.Join(append(errs, fmt.Errorf("list pods: %w", err))...)
	}
	present := make(map[types.NamespacedName]bool, len(pods.Items))
	for i := range pods.Items {
		key := client.ObjectKeyFromObject(&pods.Items[i])
		present[key] = true
		enqueue(reconcile.Request{NamespacedName: key})
	}
	_, registered := s.catalog.memory.known()
	for _, key := range registered {
		if !present[key] {
			s.metrics.sweepFound.WithLabelValues("orphan").Inc()
			enqueue(reconcile.Request{NamespacedName: key})
		}
	}
	if err := s.sweepTokens(ctx); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepTokens deletes the tokens of pods that are not there any more, which the API server must confirm.
func (s *sweeper) sweepTokens(ctx context.Context) error {
	if s.cfg.AuthMethod == "" {
		return nil
	}
	answers := map[types.NamespacedName]types.UID{}
	n, err := s.tokens.collect(ctx, "*", func(ctx context.Context, of tokenOwner) (bool, error) {
		pod := &corev1.Pod{}
		err := s.cached.Get(ctx, of.pod, pod, client.UnsafeDisableDeepCopy)
		if err == nil && pod.UID == of.uid {
			return ended(pod), nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		uid, asked := answers[of.pod]
		if !asked {
			live, err := s.find(ctx, of.pod)
			if err != nil {
				return false, err
			}
			if live != nil {
				uid = live.UID
			}
			answers[of.pod] = uid
		}
		return uid != of.uid, nil
	})
	s.metrics.sweepFound.WithLabelValues("token").Add(float64(n))
	if err != nil {
		return fmt.Errorf("sweep tokens: %w", err)
	}
	return nil
}

// reload reads a node again, removes it if it is this cluster's and nothing is on it, and forgets it if it is not there.
func (c *catalog) reload(ctx context.Context, name string) error {
	if err := c.load(ctx, name, true); err != nil {
		return err
	}
	if n := c.memory.node(name); n.exists && n.ours && n.empty {
		if err := c.removeNode(ctx, name); err != nil {
			return fmt.Errorf("remove empty node %s: %w", name, err)
		}
	}
	lock := c.memory.lock(name)
	lock.Lock()
	defer lock.Unlock()
	c.memory.prune(name)
	return nil
}
