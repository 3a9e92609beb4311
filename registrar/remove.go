// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/consul/api"
)

// remove deregisters instances, their checks with them, and then their nodes if nothing is left there. It deletes only
// what still is what the records say: an instance that was registered anew since, for another pod or by somebody else,
// stays.
func (c *catalog) remove(ctx context.Context, records []record) error {
	byNode := map[string][]record{}
	for _, r := range records {
		byNode[r.node] = append(byNode[r.node], r)
	}
	var errs []error
	for name, of := range byNode {
		if err := c.removeFrom(ctx, name, of); err != nil {
			errs = append(errs, fmt.Errorf("deregister from node %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *catalog) removeFrom(ctx context.Context, name string, records []record) error {
	empty, err := c.removeServices(ctx, name, records)
	if err != nil || !empty {
		return err
	}
	return c.removeNode(ctx, name)
}

func (c *catalog) removeServices(ctx context.Context, name string, records []record) (empty bool, err error) {
	lock := c.memory.lock(name)
	lock.RLock()
	defer lock.RUnlock()
	list, err := c.services(ctx, name, byID(records))
	if err != nil {
		return false, err
	}
	wanted := map[place]record{}
	for _, r := range records {
		wanted[r.place] = r
	}
	var ops api.TxnOps
	for _, s := range listed(list) {
		r, ok := wanted[place{node: name, namespace: tenancy(s.Namespace), id: s.ID}]
		if !ok || !c.owns(s.Meta) || podOf(s.Meta) != r.pod || s.Meta[metaUID] != string(r.uid) {
			continue
		}
		// Compare and delete: whatever was written since it was read makes this fail.
		ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{Verb: api.ServiceDeleteCAS, Node: name, Service: api.AgentService{
			ID: s.ID, Service: s.Service, ModifyIndex: s.ModifyIndex, Namespace: s.Namespace, Partition: s.Partition,
			Weights: s.Weights,
		}}})
	}
	if len(ops) > 0 {
		if err := c.txn(ctx, ops); err != nil {
			return false, err
		}
		c.metrics.writes.WithLabelValues("deregister").Inc()
	}
	return c.memory.forget(name, records), nil
}

// removeNode deregisters a node of ours if nothing at all is left on it.
func (c *catalog) removeNode(ctx context.Context, name string) error {
	lock := c.memory.lock(name)
	lock.Lock()
	defer lock.Unlock()
	list, err := c.services(ctx, name, "")
	if err != nil {
		return err
	}
	if list == nil {
		c.memory.replace(name, node{}, nil)
		c.memory.prune(name)
		return nil
	}
	if len(list.Services) > 0 || list.Node.Meta[metaSynthetic] != "true" || !c.ours(list.Node.Meta) {
		return nil
	}
	err = c.txn(ctx, api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeDeleteCAS, Node: api.Node{
		Node: name, Partition: list.Node.Partition, ModifyIndex: list.Node.ModifyIndex,
	}}}})
	if err != nil {
		return err
	}
	c.metrics.writes.WithLabelValues("node").Inc()
	c.log.Info("removed empty node", "node", name)
	c.memory.replace(name, node{}, nil)
	c.memory.prune(name)
	return nil
}

func listed(list *api.CatalogNodeServiceList) []*api.AgentService {
	if list == nil {
		return nil
	}
	return list.Services
}
