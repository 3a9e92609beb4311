// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// tokensDelay gathers the pods that go away together: all their tokens are found with one list.
	tokensDelay = time.Second
	// tokensRetry is how long a failed list waits.
	tokensRetry = 15 * time.Second
	// tokenPage bounds one round's deletions, so that a flood of lost tokens does not hold up the tokens of today.
	tokenPage = 2000
	// tokensMost bounds the pods that are remembered while tokens cannot be deleted, for want of a permission for instance.
	// The sweep finds those of further ones.
	tokensMost = 20000
)

// tokens deletes the ACL tokens that pods left behind. A dataplane that ends in order deletes its own; what is left is
// that of pods that were killed, or whose node was lost.
type tokens struct {
	cfg     Config
	metrics *metrics
	log     hclog.Logger
	wake    chan struct{}

	mu   sync.Mutex
	gone map[string]map[types.UID]bool // by Consul namespace
}

func newTokens(cfg Config, m *metrics) *tokens {
	return &tokens{cfg: cfg, metrics: m, log: cfg.Logger, wake: make(chan struct{}, 1), gone: map[string]map[types.UID]bool{}}
}

// add has the tokens of a pod that is gone deleted soon.
func (t *tokens) add(namespace string, uid types.UID) {
	if t.cfg.AuthMethod == "" || uid == "" {
		return
	}
	t.mu.Lock()
	if t.gone[namespace] == nil {
		t.gone[namespace] = map[types.UID]bool{}
	}
	if len(t.gone[namespace]) < tokensMost {
		t.gone[namespace][uid] = true
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// NeedLeaderElection has only the leader delete tokens.
func (*tokens) NeedLeaderElection() bool { return true }

// Start deletes tokens until ctx ends. What it did not get to is found by the next sweep.
func (t *tokens) Start(ctx context.Context) error {
	delay, said := tokensDelay, ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
		delay = tokensDelay
		err := t.round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			said = ""
			continue
		case reason(err) != said:
			said = reason(err)
			t.log.Warn("cannot delete tokens of pods that are gone", "error", err, "retry", tokensRetry)
		}
		t.metrics.errors.WithLabelValues("tokens", said).Inc()
		delay = tokensRetry
	}
}

// round deletes the tokens of the pods that are gone. Those of which it could not stay for the next one.
func (t *tokens) round(ctx context.Context) error {
	var errs []error
	for namespace, uids := range t.take() {
		n, err := t.collect(ctx, namespace, func(_ context.Context, of tokenOwner) (bool, error) { return uids[of.uid], nil })
		if err == nil && n < tokenPage {
			continue
		}
		errs = append(errs, err)
		for uid := range uids {
			t.add(namespace, uid)
		}
	}
	return errors.Join(errs...)
}

func (t *tokens) take() map[string]map[types.UID]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := t.gone
	t.gone = map[string]map[types.UID]bool{}
	return gone
}

// A tokenOwner is the pod that logged in, as the login's meta names it.
type tokenOwner struct {
	pod types.NamespacedName
	uid types.UID
}

// collect lists the auth method's tokens of a Consul namespace once, and deletes those whose owner is gone.
func (t *tokens) collect(
	ctx context.Context, namespace string, gone func(context.Context, tokenOwner) (bool, error),
) (int, error) {
	q := &api.QueryOptions{Partition: t.cfg.Partition}
	w := &api.WriteOptions{Partition: t.cfg.Partition}
	if t.cfg.Namespaces.Enabled {
		q.Namespace, w.Namespace = namespace, namespace
	}
	listing, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	list, _, err := t.cfg.Consul.ACL().TokenListFiltered(
		api.ACLTokenFilterOptions{AuthMethod: t.cfg.AuthMethod}, q.WithContext(listing))
	if err != nil {
		return 0, fmt.Errorf("list tokens: %w", err)
	}
	deleted := 0
	for _, token := range list {
		of, ok := ownerOf(token.Description)
		if !ok || token.AuthMethod != t.cfg.AuthMethod {
			continue
		}
		is, err := gone(ctx, of)
		if err != nil {
			return deleted, err
		}
		if !is {
			continue
		}
		if token.Namespace != "" && t.cfg.Namespaces.Enabled {
			w.Namespace = token.Namespace
		}
		if err := t.delete(ctx, token.AccessorID, w); err != nil {
			return deleted, err
		}
		if deleted++; deleted == tokenPage {
			break
		}
	}
	return deleted, nil
}

func (t *tokens) delete(ctx context.Context, accessor string, w *api.WriteOptions) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	_, err := t.cfg.Consul.ACL().TokenDelete(accessor, w.WithContext(ctx))
	var status api.StatusError
	if errors.As(err, &status) && status.Code == 404 { // the dataplane was faster
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete token %s: %w", accessor, err)
	}
	t.metrics.writes.WithLabelValues("token").Inc()
	return nil
}

// ownerOf reads the login's meta, which Consul writes as JSON after a few words into a token's description. Without
// the pod's UID nothing is proved: the name may be another pod's by now.
func ownerOf(description string) (tokenOwner, bool) {
	start := strings.IndexByte(description, '{')
	if start < 0 {
		return tokenOwner{}, false
	}
	var meta map[string]string
	if json.Unmarshal([]byte(description[start:]), &meta) != nil {
		return tokenOwner{}, false
	}
	namespace, name, ok := strings.Cut(meta["pod"], "/")
	if !ok || meta["pod-uid"] == "" {
		return tokenOwner{}, false
	}
	return tokenOwner{pod: types.NamespacedName{Namespace: namespace, Name: name}, uid: types.UID(meta["pod-uid"])}, true
}
