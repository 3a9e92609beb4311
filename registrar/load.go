// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"

	"github.com/hashicorp/consul/api"
	"k8s.io/apimachinery/pkg/types"
)

// load reads a node from the catalog in place of what was known of it. Without again, one that is known is left.
func (c *catalog) load(ctx context.Context, name string, again bool) error {
	lock := c.memory.lock(name)
	lock.Lock()
	defer lock.Unlock()
	if !again && c.memory.node(name).loaded {
		return nil
	}
	list, err := c.services(ctx, name, "")
	if err != nil {
		return fmt.Errorf("read node %s: %w", name, err)
	}
	if list == nil {
		c.memory.replace(name, node{}, nil)
		return nil
	}
	n := node{
		exists: true, ours: c.ours(list.Node.Meta), empty: len(list.Services) == 0, address: list.Node.Address, meta: list.Node.Meta,
		foreign: map[place]stranger{},
	}
	var records []record
	for _, s := range list.Services {
		p := place{node: name, namespace: tenancy(s.Namespace), id: s.ID}
		if !c.owns(s.Meta) {
			n.foreign[p] = stranger{owner: owner(s.Meta), uid: types.UID(s.Meta[metaUID])}
			continue
		}
		r := record{place: p, pod: podOf(s.Meta), uid: types.UID(s.Meta[metaUID]), service: s.Service}
		if r.digest, err = serviceDigest(s); err != nil {
			return err
		}
		records = append(records, r)
	}
	if err := c.loadStatus(ctx, name, records); err != nil {
		return err
	}
	c.memory.replace(name, n, records)
	return nil
}

// loadStatus fills in the status of the records' checks. A check that is not there, or not as it is written here, has
// none, so it will be written.
func (c *catalog) loadStatus(ctx context.Context, node string, records []record) error {
	namespaces := map[string]map[string]*api.HealthCheck{}
	for i := range records {
		r := &records[i]
		byID, ok := namespaces[r.namespace]
		if !ok {
			checks, err := c.checks(ctx, node, r.namespace)
			if err != nil {
				return fmt.Errorf("read checks of node %s: %w", node, err)
			}
			byID = make(map[string]*api.HealthCheck, len(checks))
			for _, check := range checks {
				byID[check.CheckID] = check
			}
			namespaces[r.namespace] = byID
		}
		want := c.check(*r, "")
		if have := byID[want.CheckID]; have != nil && have.ServiceID == r.id && have.Name == want.Name && have.Type == want.Type {
			r.status = have.Status
		}
	}
	return nil
}

// stranger is an instance that is not this cluster's.
type stranger struct {
	owner string
	uid   types.UID // of the pod that it says it is
}

// owns says whether the meta is that of an instance that this cluster registered.
func (c *catalog) owns(meta map[string]string) bool {
	return c.ours(meta) && meta[metaPod] != "" && meta[metaNamespace] != ""
}

// ours says whether the meta, of a node or an instance, names this cluster.
func (c *catalog) ours(meta map[string]string) bool {
	return meta[metaManagedBy] == ManagedBy && meta[metaCluster] == c.cfg.Cluster
}

func podOf(meta map[string]string) types.NamespacedName {
	return types.NamespacedName{Namespace: meta[metaNamespace], Name: meta[metaPod]}
}

// owner describes who registered what is not ours.
func owner(meta map[string]string) string {
	switch {
	case meta[metaCluster] != "":
		return fmt.Sprintf("cluster %q", meta[metaCluster])
	case meta[metaManagedBy] != "":
		return fmt.Sprintf("%q", meta[metaManagedBy])
	default:
		return "somebody else"
	}
}
