// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"context"
	"time"
)

// endRetry is the pause between two attempts to remove the registration.
const endRetry = 100 * time.Millisecond

// end removes what has been registered. ctx has ended by then.
func (r *Registrar) end(ctx context.Context) {
	if !r.mayBe {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), EndTimeout)
	defer cancel()
	tick := time.NewTicker(endRetry)
	defer tick.Stop()
	for {
		err := r.remove(ctx)
		if err == nil {
			r.mu.Lock()
			r.status.Registered, r.status.Since = false, time.Now()
			r.mu.Unlock()
			r.log.Info("deregistered", "node", r.cfg.Node, "service_id", r.cfg.Definition.ID)
			return
		}
		if ctx.Err() == nil && !isRefusal(err) {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
			}
		}
		r.log.Warn("cannot deregister the service, the next start here will replace it", "error", err)
		return
	}
}

// remove removes the proxy, the service, and a node that podplane has made if
// nothing else is on it.
func (r *Registrar) remove(ctx context.Context) error {
	n, err := r.catalog.nodeServices(ctx, r.cfg.Node)
	if err != nil && !isRefusal(err) {
		return err
	}
	for _, id := range []string{r.cfg.Definition.ProxyID(), r.cfg.Definition.ID} {
		if n.isAnothers(id, r.cfg.Instance) {
			r.log.Info("another podplane has taken over the registration, it stays", "node", r.cfg.Node, "service_id", id)
			continue
		}
		if err := r.catalog.deregister(ctx, deregistration{Node: r.cfg.Node, ServiceID: id}); err != nil {
			return err
		}
	}
	n, err = r.catalog.nodeServices(ctx, r.cfg.Node)
	if err == nil && n.isOurs() && len(n.Services) == 0 {
		err = r.catalog.deregister(ctx, deregistration{Node: r.cfg.Node})
	}
	if err != nil {
		// An empty node is in nobody's way.
		r.log.Debug("the node stays in the catalog", "node", r.cfg.Node, "error", err)
	}
	return nil
}
