// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"podplane/companion/consulhttp"
	"podplane/config"
	"podplane/injector/certs"
	"podplane/injector/webhook"
)

// closeTimeout bounds the end of the session with Consul.
const closeTimeout = 5 * time.Second

// Options are what the program around the companion decides.
type Options struct {
	// Config is a valid configuration, as config.LoadCompanion returns it.
	Config *config.Companion
	// Version and Revision say which build is running.
	Version, Revision string
	// Inject makes what decides on pods. native tells, at each call, whether pods
	// get native sidecars by default, and why they cannot have them though they
	// ask. nil is the injector.
	Inject func(c *config.Companion, native func() (bool, string)) (webhook.Mutator, error)
	// Register is what registers pods. The zero value is the registrar.
	Register Register
	// Log takes everything that is worth a line; nil is silent.
	Log hclog.Logger
}

// Register makes pods known to Consul, as part of a manager of controller-runtime.
type Register struct {
	// Cache is what of the cluster is kept in memory.
	Cache func() cache.Options
	// Add makes it a part of the manager, where it runs while this replica leads.
	// It is called again, with another manager and other metrics, if it fails.
	Add func(context.Context, manager.Manager, Registration) error
}

// Registration is what a registrar needs beside its settings.
type Registration struct {
	Config  *config.Companion
	Consul  *api.Client
	Metrics prometheus.Registerer
	Log     hclog.Logger
}

// Companion is one replica. It is made by New, and Run is called once.
type Companion struct {
	options Options
	config  *config.Companion
	log     hclog.Logger
	kube    *rest.Config

	registry *prometheus.Registry
	store    *certs.Store
	keeper   keeper
	version  *apiVersion
	webhook  *webhook.Server
	health   *pages
	metrics  *pages // nil if off
	consul   *consulhttp.Client
	register *registration
	draining chan struct{} // closed when the end begins

	unbind []func() error // gives back what New bound, if Run is not reached
}

// keeper keeps the certificate of the store.
type keeper interface{ Run(context.Context) error }

// New builds the parts and binds their addresses. Nothing runs until Run, and
// neither the API server nor Consul is asked. The error names what cannot be had.
func New(o Options) (*Companion, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Inject == nil {
		o.Inject = inject
	}
	if o.Register.Add == nil {
		o.Register = register()
	}
	c := &Companion{
		options:  o,
		config:   o.Config,
		log:      o.Log,
		registry: newRegistry(o.Version, o.Revision),
		store:    &certs.Store{},
		draining: make(chan struct{}),
	}
	for _, build := range []func() error{
		c.buildKube, c.buildCerts, c.buildVersion, c.buildWebhook, c.buildConsul, c.buildRegistrar, c.buildPages,
	} {
		if err := build(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// Close gives back the addresses of a Companion that will not run.
func (c *Companion) Close() error {
	var errs []error
	for _, unbind := range c.unbind {
		errs = append(errs, unbind())
	}
	c.unbind = nil
	return errors.Join(errs...)
}

// Run runs the companion until ctx ends, which is a clean end, or until a part
// cannot go on: a listener stopped serving, or leadership was lost. Whichever
// comes first ends all parts; all are awaited.
func (c *Companion) Run(ctx context.Context) error {
	var group run.Group
	add := func(execute func(context.Context) error) {
		ctx, cancel := context.WithCancel(ctx)
		group.Add(func() error { return execute(ctx) }, func(error) { cancel() })
	}
	ended := make(chan struct{}) // the webhook's end
	add(func(ctx context.Context) error {
		defer close(ended)
		return c.webhook.Run(ctx)
	})
	add(c.keeper.Run)
	add(c.version.Run)
	add(c.runRegistrar)
	for _, p := range []*pages{c.health, c.metrics} {
		if p != nil {
			group.Add(func() error { return p.run(context.WithoutCancel(ctx), ended) }, func(error) {})
		}
	}
	// The first of all to know of the end, so that probes fail before anything else does.
	done, cancel := context.WithCancel(ctx)
	group.Add(func() error { <-done.Done(); return nil }, func(error) { close(c.draining); cancel() })
	err := group.Run()
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// runRegistrar registers pods, and ends the session with Consul afterwards.
func (c *Companion) runRegistrar(ctx context.Context) error {
	err := c.register.Run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if closeErr := c.consul.Close(closing); closeErr != nil {
		c.log.Warn("the consul token was not given back, it ends when it expires", "error", closeErr)
	}
	return err
}

// buildKube reads how to reach the API server.
func (c *Companion) buildKube() (err error) {
	if c.kube, err = clientcmd.BuildConfigFromFlags("", c.config.Kubeconfig); err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	// What the registrar needs after a long absence; everything else is rare.
	c.kube.QPS, c.kube.Burst = 100, 200
	c.kube.UserAgent = "podplane-injector"
	return nil
}

// bound remembers to give an address back.
func (c *Companion) bound(p interface{ Close() error }) { c.unbind = append(c.unbind, p.Close) }
