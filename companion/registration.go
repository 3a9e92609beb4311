// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"podplane/config"
)

// The leader's lease. Another replica takes over at most leaseDuration plus
// retryPeriod after the last sign of life, and the leader stops acting
// renewDeadline after it:
// https://pkg.go.dev/k8s.io/client-go/tools/leaderelection.
const (
	leaseDuration = 10 * time.Second
	renewDeadline = 7 * time.Second
	retryPeriod   = 2 * time.Second
)

const (
	managerRetry = 2 * time.Second
	// registrarShutdown is how long what is under way may take at the end.
	registrarShutdown = 10 * time.Second
)

// registration runs the registrar in a manager of controller-runtime.
type registration struct {
	kube   *rest.Config
	what   Register
	with   Registration
	config *config.Companion
	log    hclog.Logger
	// registry is that of the manager that runs.
	registry atomic.Pointer[prometheus.Registry]
	leader   prometheus.Gauge
}

func (c *Companion) buildRegistrar() error {
	c.register = &registration{
		kube: c.kube, what: c.options.Register, config: c.config, log: c.log.Named("registrar"),
		with: Registration{Config: c.config, Consul: c.consul.API, Log: c.log.Named("registrar")},
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "podplane_injector_leader",
			Help: "1 on the replica that registers pods, 0 on the others.",
		}),
	}
	if err := c.registry.Register(c.register.leader); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Gather implements [prometheus.Gatherer] for the metrics of what runs.
func (r *registration) Gather() ([]*dto.MetricFamily, error) {
	if registry := r.registry.Load(); registry != nil {
		return registry.Gather()
	}
	return nil, nil
}

// Run registers pods while this replica leads, until ctx ends. Loss of the lease
// is an error: whoever lost it must stop at once, and what is under way is not
// waited for.
func (r *registration) Run(ctx context.Context) error {
	mgr, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	if mgr == nil {
		return nil // ctx ended
	}
	leads := make(chan struct{})
	go func() {
		defer close(leads)
		select {
		case <-mgr.Elected():
			r.leader.Set(1)
			r.log.Info("leading: this replica registers pods")
		case <-ctx.Done():
		}
	}()
	err = mgr.Start(ctx)
	r.leader.Set(0)
	if ctx.Err() != nil {
		<-leads
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("register pods: %w", err)
	}
	return nil
}

// prepare makes the manager. It is repeated while the API server is away; nil
// means that ctx ended first.
func (r *registration) prepare(ctx context.Context) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register pods: %w", err)
	}
	said := ""
	for {
		mgr, registry, err := r.manager(ctx, scheme)
		if err == nil {
			r.registry.Store(registry)
			return mgr, nil
		}
		if ctx.Err() != nil {
			return nil, nil //nolint:nilnil // the end is no error
		}
		if problem := err.Error(); problem != said {
			said = problem
			r.log.Warn("the registrar cannot start yet, retrying", "error", problem)
		}
		select {
		case <-ctx.Done():
		case <-time.After(managerRetry):
		}
	}
}

// manager makes one with the registrar in it. Both are new each time: half of an
// earlier attempt may be in them.
func (r *registration) manager(ctx context.Context, scheme *runtime.Scheme) (manager.Manager, *prometheus.Registry, error) {
	lease, renew, retry, shutdown, again := leaseDuration, renewDeadline, retryPeriod, registrarShutdown, true
	mgr, err := manager.New(r.kube, manager.Options{
		Scheme:                        scheme,
		Cache:                         r.what.Cache(),
		Logger:                        Logr(r.log.Named("manager")),
		LeaderElection:                r.config.LeaderElection,
		LeaderElectionID:              r.config.LeaseName,
		LeaderElectionNamespace:       r.config.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		GracefulShutdownTimeout:       &shutdown,
		Metrics:                       server.Options{BindAddress: "0"},
		HealthProbeBindAddress:        "0",
		Controller:                    ctrlconfig.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make manager: %w", err)
	}
	with, registry := r.with, prometheus.NewRegistry()
	with.Metrics = registry
	if err := r.what.Add(ctx, mgr, with); err != nil {
		return nil, nil, err
	}
	return mgr, registry, nil
}

var _ prometheus.Gatherer = (*registration)(nil)
