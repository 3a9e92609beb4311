// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// catalog is this cluster's part of Consul's catalog. Writes of one pod must not overlap; those of different pods may.
type catalog struct {
	cfg        Config
	memory     *memory
	namespaces *namespaces
	metrics    *metrics
	log        hclog.Logger
	answers    atomic.Int64 // of Consul
}

// instance is a service or a proxy as it should be in the catalog.
type instance struct {
	record       // its digest and status are those of registration
	registration *api.CatalogRegistration
}

// apply makes the instances of one pod, all on one node, as they should be. What is as it should be is not written. It
// says whether more than checks was.
func (c *catalog) apply(ctx context.Context, want []instance) (bool, error) {
	name := want[0].node
	release, err := c.open(ctx, name)
	if err != nil {
		return false, err
	}
	defer release()
	renew := c.outdated(want[0])
	known := map[place]record{}
	for _, r := range c.memory.of(want[0].pod) {
		known[r.place] = r
	}
	var checks []instance
	wrote := false
	for _, w := range want {
		switch have := known[w.place]; {
		case have.digest != w.digest || have.uid != w.uid || renew:
			renew = false // any write does
			if err := c.write(ctx, w); err != nil {
				return wrote, fmt.Errorf("register %s: %w", w.id, err)
			}
			wrote = true
		case have.status != w.status:
			checks = append(checks, w)
		}
	}
	if len(checks) == 0 {
		return wrote, nil
	}
	return wrote, c.setStatus(ctx, checks)
}

// outdated says whether an instance's node is ours and in the catalog with other content.
func (c *catalog) outdated(w instance) bool {
	n := c.memory.node(w.node)
	return n.exists && n.ours && (n.address != w.registration.Address || !maps.Equal(n.meta, w.registration.NodeMeta))
}

// open waits until a node may be written to, and has it read from the catalog if it was not yet. The caller calls
// release when it has written.
func (c *catalog) open(ctx context.Context, name string) (release func(), err error) {
	lock := c.memory.lock(name)
	for {
		lock.RLock()
		if c.memory.node(name).loaded {
			return lock.RUnlock, nil
		}
		lock.RUnlock()
		if err := c.load(ctx, name, false); err != nil {
			return nil, err
		}
	}
}

// write registers an instance with its check. Until the answer is there the record stays, as one whose content is not
// known: a request that failed may have been carried out.
func (c *catalog) write(ctx context.Context, w instance) error {
	n := c.memory.node(w.node)
	if s, ok := n.foreign[w.place]; ok && s.uid != w.uid {
		c.memory.doubt(w.node) // it may be gone by the next try
		return &conflictError{place: w.place, owner: s.owner, advice: adviceCluster}
	}
	if err := c.namespaces.ensure(ctx, w.namespace); err != nil {
		return err
	}
	r := *w.registration
	r.SkipNodeUpdate = !c.outdated(w) // a node that is not there is made in any case
	pending := w.record
	pending.digest, pending.status = unwritten, ""
	if holder, ok := c.memory.claim(pending); !ok {
		return &conflictError{place: w.place, owner: "pod " + holder.String(), advice: advicePod}
	}
	if err := c.register(ctx, &r); err != nil {
		c.namespaces.doubt(w.namespace)
		return err
	}
	c.memory.put(w.record)
	if !n.exists || !r.SkipNodeUpdate {
		c.memory.wrote(w.node, r.Address, r.NodeMeta)
	}
	c.metrics.writes.WithLabelValues("register").Inc()
	return nil
}

// setStatus writes checks of one pod together.
func (c *catalog) setStatus(ctx context.Context, want []instance) error {
	ops := make(api.TxnOps, 0, len(want))
	for _, w := range want {
		check := w.registration.Check
		ops = append(ops, &api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{
			Node: w.node, CheckID: check.CheckID, Name: check.Name, Type: check.Type, Status: check.Status, Output: check.Output,
			ServiceID: w.id, ServiceName: w.service, Namespace: check.Namespace, Partition: check.Partition,
		}}})
	}
	if err := c.txn(ctx, ops); err != nil {
		c.memory.doubt(want[0].node)
		return fmt.Errorf("set checks of pod %s: %w", want[0].pod, err)
	}
	for _, w := range want {
		c.memory.put(w.record)
	}
	c.metrics.writes.WithLabelValues("check").Inc()
	c.log.Debug("set checks of pod", "pod", want[0].pod, "status", want[0].status)
	return nil
}

// keepStatus makes the checks of a pod's instances follow its readiness, and leaves all else as it is registered.
func (c *catalog) keepStatus(ctx context.Context, of *corev1.Pod, status, output string) error {
	node, pod, uid := c.nodeOf(of), types.NamespacedName{Namespace: of.Namespace, Name: of.Name}, of.UID
	release, err := c.open(ctx, node)
	if err != nil {
		return err
	}
	defer release()
	var want []instance
	for _, r := range c.memory.of(pod) {
		if r.node == node && r.uid == uid && r.status != status && r.digest != unwritten {
			r.status = status
			want = append(want, instance{record: r, registration: &api.CatalogRegistration{Check: c.check(r, output)}})
		}
	}
	if len(want) == 0 {
		return nil
	}
	return c.setStatus(ctx, want)
}
