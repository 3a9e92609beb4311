// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"

	"podplane/config"
	"podplane/dnsproxy"
	"podplane/envoy"
	"podplane/lifecycle"
	"podplane/metrics"
	"podplane/selfregister"
	"podplane/serverconn"
	"podplane/xdsproxy"
)

// Options are what the program around the dataplane decides.
type Options struct {
	// Config is a valid configuration, as config.Load returns it.
	Config *config.Config
	// Version and Revision say which build is running.
	Version, Revision string
	// Signals brings the signals that ask for an end; may be nil.
	Signals <-chan os.Signal
	// Stdout takes what is asked for besides the log, such as Envoy's
	// configuration at the end; nil is the process's own.
	Stdout io.Writer
	// Log takes everything that is worth a line; nil is silent.
	Log hclog.Logger
}

// Dataplane is one sidecar, or one DNS proxy, which is a sidecar without Envoy
// and what belongs to it: supervisor, admin and xds are nil there. It is made by New, and Run is called once.
type Dataplane struct {
	config *config.Config
	log    hclog.Logger
	stdout io.Writer
	signal <-chan os.Signal

	registry   *prometheus.Registry
	session    *serverconn.Session
	forget     func() // ends the subscription to the session's changes
	xds        *xdsproxy.Server
	xdsSecret  string
	admin      *envoy.Admin
	supervisor *envoy.Supervisor
	expiry     *envoy.Expiry
	readiness  *lifecycle.Readiness
	tasks      tasks
	resumed    chan struct{} // closed when the start goes by what an earlier process saved
	drainer    *lifecycle.Drainer
	logLevel   *lifecycle.LogLevel
	about      about
	lifecycle  *lifecycle.Server
	dns        *dnsproxy.Server // nil if turned off
	definition *selfregister.Definition
	registrar  *selfregister.Registrar // nil if somebody else registers the proxy
	metrics    *metrics.Server         // nil if its default address was taken
	metricsErr error                   // why
	telemetry  telemetry

	unbind []func() error // gives back what New bound, if Run is not reached
}

// New builds the parts and binds their addresses. Nothing runs until Run. The
// error names what cannot be had; ExitCode tells its kind.
func New(o Options) (*Dataplane, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	definition, err := readServiceFile(&o)
	if err != nil {
		return nil, err
	}
	d := &Dataplane{
		config:     o.Config,
		definition: definition,
		log:        o.Log,
		stdout:     o.Stdout,
		signal:     o.Signals,
		registry:   metrics.NewRegistry(metrics.BuildInfo{Version: o.Version, Revision: o.Revision}),
		readiness:  &lifecycle.Readiness{},
		about:      newAbout(o),
		resumed:    make(chan struct{}),
	}
	d.tasks = addTasks(d.readiness, o.Config)
	for _, build := range d.builders() {
		if err := build(); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// Close gives back the addresses of a Dataplane that will not run.
func (d *Dataplane) Close() error {
	var errs []error
	for _, unbind := range d.unbind {
		errs = append(errs, unbind())
	}
	d.unbind = nil
	return errors.Join(errs...)
}

// builders are the parts of the mode, in the order in which they need each other.
func (d *Dataplane) builders() []func() error {
	if d.config.Mode == config.ModeDNSProxy {
		return []func() error{d.buildTelemetry, d.buildSession, d.buildDNS, d.buildMetrics, d.buildLifecycle}
	}
	return []func() error{
		d.buildTelemetry, d.buildEnvoy, d.buildSession, d.buildXDS, d.buildDNS, d.buildMetrics, d.buildLifecycle, d.buildRegistrar,
	}
}

// Run runs the sidecar until it ends. There are these ways out:
//
//  1. The drainer returns nil: a shutdown, asked for by signal or over HTTP, is
//     complete and Envoy is gone. Clean, exit code 0.
//  2. Envoy crashed more often than it may be restarted (*envoy.ExitError):
//     Envoy's own exit code.
//  3. Envoy could not be started, or its bootstrap could not be built.
//  4. The Consul servers refuse the credentials, or refuse to serve the proxy,
//     before it was ever served.
//  5. A listener stopped serving, which only a fault in the process can cause.
//  6. ctx is done. Envoy is ended without a drain. Clean.
//
// Whichever comes first ends all parts; Envoy is gone when Run returns, and the
// session has been logged out.
func (d *Dataplane) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group run.Group
	add := func(execute func(context.Context) error) {
		ctx, cancel := context.WithCancel(ctx)
		group.Add(func() error { return execute(ctx) }, func(error) { cancel() })
	}
	add(d.drainer.Run)
	add(d.lifecycle.Run)
	add(d.logLevel.Run)
	add(d.runMetrics)
	add(d.runPush)
	add(d.watchReadiness)
	if d.supervisor != nil {
		defer d.forget()
		add(d.xds.Run)
		add(d.runEnvoy)
		add(d.expiry.Run)
	}
	if d.dns != nil {
		add(d.dns.Run)
	}
	add(envoy.NewReaper(d.log.Named("reaper")).Run)
	add(func(ctx context.Context) error { return d.drainer.Signals(ctx, d.signal) })
	d.addSession(ctx, &group)
	return group.Run()
}
