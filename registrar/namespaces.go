// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// namespaces creates Consul Enterprise's namespaces when they are first needed.
// https://developer.hashicorp.com/consul/docs/multi-tenant/namespace
type namespaces struct {
	cfg Config
	log hclog.Logger

	mu     sync.Mutex
	exists map[string]bool
}

func newNamespaces(cfg Config) *namespaces {
	return &namespaces{cfg: cfg, log: cfg.Logger, exists: map[string]bool{"": true, "default": true}}
}

// ensure has the namespace exist. One that was found or made once is not asked for again.
func (n *namespaces) ensure(ctx context.Context, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.exists[name] {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	got, _, err := n.cfg.Consul.Namespaces().Read(name, (&api.QueryOptions{Partition: n.cfg.Partition}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("read namespace %s: %w", name, err)
	}
	if got == nil {
		if err := n.create(ctx, name); err != nil {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
	}
	n.exists[name] = true
	return nil
}

func (n *namespaces) create(ctx context.Context, name string) error {
	namespace := &api.Namespace{
		Name:        name,
		Partition:   n.cfg.Partition,
		Description: "Made for pods of the Kubernetes cluster " + n.cfg.Cluster,
		Meta:        map[string]string{"external-source": "kubernetes"},
	}
	if n.cfg.CrossNamespacePolicy != "" {
		namespace.ACLs = &api.NamespaceACLConfig{PolicyDefaults: []api.ACLLink{{Name: n.cfg.CrossNamespacePolicy}}}
	}
	_, _, err := n.cfg.Consul.Namespaces().Create(namespace, (&api.WriteOptions{Partition: n.cfg.Partition}).WithContext(ctx))
	if err == nil {
		n.log.Info("created consul namespace", "namespace", name)
	}
	return err
}

// doubt has a namespace looked for again: a write in it failed, and somebody may have deleted it.
func (n *namespaces) doubt(name string) {
	if tenancy(name) == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.exists, name)
}
