// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"podplane/config"
	"podplane/injector"
	"podplane/injector/webhook"
	"podplane/registrar"
)

// inject is the [Options].Inject of the product.
func inject(c *config.Companion, native func() (bool, string)) (webhook.Mutator, error) {
	cfg, err := injectorConfig(c)
	if err != nil {
		return nil, err
	}
	ca := &authorities{}
	if !c.Consul.TLS.Disabled {
		ca.path = c.Consul.TLS.CACertsPath
	}
	if cfg.Consul.CA, err = ca.current(); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return func(_ context.Context, request webhook.Request) (webhook.Decision, error) {
		now := cfg
		now.Native, now.NativeMissing = native()
		var err error
		if now.Consul.CA, err = ca.current(); err != nil {
			return webhook.Decision{}, err
		}
		result, err := injector.Mutate(request.Pod, request.Namespace, &now)
		return webhook.Decision{Patch: result.Patch, Warnings: result.Warnings, Refusal: result.Refusal}, err
	}, nil
}

// injectorConfig is what the injector takes of the settings, but for what changes
// while this runs.
func injectorConfig(c *config.Companion) (injector.Config, error) {
	defaults, err := PodDefaults(c)
	if err != nil {
		return injector.Config{}, fmt.Errorf("defaults of pods: %w", err)
	}
	return injector.Config{
		Image:           c.Inject.Image,
		PullPolicy:      c.Inject.ImagePullPolicy,
		DefaultInject:   c.Inject.Default,
		AllowNamespaces: c.Inject.AllowNamespaces,
		DenyNamespaces:  c.Inject.DenyNamespaces,
		Compat:          c.Inject.Compat,
		CompanionImage:  c.Inject.CompanionImage,
		Consul: injector.Consul{
			Addresses:           c.Consul.Addresses,
			GRPCPort:            c.Consul.GRPCPort,
			ServerWatchDisabled: c.Consul.ServerWatchDisabled,
			TLSDisabled:         c.Consul.TLS.Disabled,
			TLSSkipVerify:       c.Consul.TLS.InsecureSkipVerify,
			TLSServerName:       c.Consul.TLS.ServerName,
		},
		Login: injector.Login{
			AuthMethod:    c.Inject.AuthMethod,
			AnyAccount:    c.Inject.AnyAccount,
			Audience:      c.Inject.TokenAudience,
			ExpirySeconds: int64(c.Inject.TokenExpiry / time.Second),
		},
		Destination: Destination(c),
		Partition:   c.Tenancy.Partition,
		NodeSuffix:  c.Registrar.NodeSuffix,
		LogLevel:    c.Inject.LogLevel,
		LogJSON:     c.Inject.LogJSON,
		Defaults:    defaults,
	}, nil
}

// register is the [Options].Register of the product.
func register() Register {
	return Register{
		Cache: registrar.CacheOptions,
		Add: func(ctx context.Context, mgr manager.Manager, with Registration) error {
			cfg, err := registrarConfig(with)
			if err != nil {
				return err
			}
			return registrar.Add(ctx, mgr, cfg)
		},
	}
}

// registrarConfig is what the registrar takes of the settings.
func registrarConfig(with Registration) (registrar.Config, error) {
	c := with.Config
	pods, err := injectorConfig(c) // what holds for pods is to be the same for both
	if err != nil {
		return registrar.Config{}, err
	}
	out := registrar.Config{
		Consul:               with.Consul,
		Cluster:              c.Registrar.ClusterName,
		NodeSuffix:           pods.NodeSuffix,
		NodeMeta:             c.Registrar.NodeMeta,
		Allowed:              pods.Allows,
		Defaults:             pods.Defaults,
		Namespaces:           pods.Destination,
		Partition:            pods.Partition,
		CrossNamespacePolicy: c.Tenancy.CrossNamespacePolicy,
		Locality:             c.Registrar.Locality,
		Workers:              c.Registrar.Workers,
		SweepInterval:        c.Registrar.SweepInterval,
		Registerer:           with.Metrics,
		Logger:               with.Log,
	}
	out.AccountsAreServices = c.Inject.AuthMethod != "" && !c.Inject.AnyAccount
	if c.Registrar.TokenCleanup {
		out.AuthMethod = c.Inject.AuthMethod
	}
	return out, nil
}
