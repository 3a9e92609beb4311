// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"podplane/companion"
	"podplane/registrar"
)

// registerPods is how the companion's registrar is set up.
func registerPods() companion.Register {
	return companion.Register{
		Cache: registrar.CacheOptions,
		Add: func(ctx context.Context, mgr manager.Manager, with companion.Registration) error {
			cfg, err := registrarConfig(with)
			if err != nil {
				return err
			}
			return registrar.Add(ctx, mgr, cfg)
		},
	}
}

// registrarConfig says the companion's settings in the registrar's words.
func registrarConfig(with companion.Registration) (registrar.Config, error) {
	c := with.Config
	defaults, err := companion.PodDefaults(c)
	if err != nil {
		return registrar.Config{}, err
	}
	cfg := registrar.Config{
		Consul:               with.Consul,
		Cluster:              c.Registrar.ClusterName,
		NodeSuffix:           c.Registrar.NodeSuffix,
		NodeMeta:             c.Registrar.NodeMeta,
		Defaults:             defaults,
		Namespaces:           companion.Destination(c),
		Partition:            c.Tenancy.Partition,
		CrossNamespacePolicy: c.Tenancy.CrossNamespacePolicy,
		Locality:             c.Registrar.Locality,
		Workers:              c.Registrar.Workers,
		SweepInterval:        c.Registrar.SweepInterval,
		Registerer:           with.Metrics,
		Logger:               with.Log,
	}
	if c.Registrar.TokenCleanup {
		cfg.AuthMethod = c.Inject.AuthMethod
	}
	return cfg, nil
}
