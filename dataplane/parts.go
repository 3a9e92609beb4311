// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"podplane/envoy"
	"podplane/lifecycle"
	"podplane/metrics"
	"podplane/serverconn"
	"podplane/xdsproxy"
)

func (d *Dataplane) buildEnvoy() error {
	admin, err := envoy.NewAdmin(adminConfig(d.config.Envoy))
	if err != nil {
		return coded(ExitEnvoy, err)
	}
	// Envoy binds this one, but only after Consul has answered. Whether it can is
	// told now.
	if err := available(hostPort(d.config.Envoy.AdminBindAddr, d.config.Envoy.AdminBindPort)); err != nil {
		return coded(ExitListen, fmt.Errorf("envoy's admin address: %w", err))
	}
	d.admin = admin
	c := envoyConfig(d.config)
	c.Admin = admin
	c.Env = withoutCredentials(os.Environ())
	c.Registerer = d.registry
	if d.supervisor, err = envoy.New(c, d.log.Named("envoy")); err != nil {
		return coded(ExitEnvoy, err)
	}
	d.expiry, err = envoy.NewExpiry(envoy.ExpiryConfig{
		Admin: admin, Changed: d.supervisor.Changed, Registerer: d.registry,
	}, d.log.Named("envoy"))
	return coded(ExitEnvoy, err)
}

// withoutCredentials drops the variables that hold podplane's tokens from an
// environment. Envoy has no use for them, and what it does not have it cannot
// show.
func withoutCredentials(env []string) []string { return slices.DeleteFunc(env, isCredential) }

// getenv is the environment that the proxy's configuration in Consul may name:
// whoever writes that is not to learn podplane's tokens from an error.
func getenv(name string) string {
	if isCredential(name) {
		return ""
	}
	return os.Getenv(name)
}

func isCredential(variable string) bool { return strings.HasPrefix(variable, "DP_CREDENTIAL_") }

// available tells whether an address can be bound, by binding it.
func available(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func (d *Dataplane) buildSession() error {
	c := sessionConfig(d.config.Consul)
	c.Registerer = d.registry
	c.Logins = d.telemetry.bridge.Logins()
	session, err := serverconn.New(c, d.log.Named("consul"))
	if err != nil {
		return coded(ExitConfig, err)
	}
	d.session = session
	return nil
}

func (d *Dataplane) buildXDS() error {
	changes, forget := d.session.Changes()
	d.forget = forget
	d.unbind = append(d.unbind, func() error { forget(); return nil })
	c := xdsConfig(d.config.XDSServer)
	if c.Addr != "" && !strings.HasPrefix(c.Addr, "unix://") {
		d.xdsSecret = rand.Text()
	}
	store, err := xdsStore(d.config)
	if err != nil {
		return err
	}
	c.Store = store
	c.PeerPID = d.supervisor.PID
	c.Secret = d.xdsSecret
	c.Upstream = d.session.Conn()
	c.Changed = func() <-chan struct{} { return changes }
	c.Epoch = func() uint64 { return d.session.Status().Epoch }
	c.Leave = d.session.SwitchServer
	c.Registerer = d.registry
	server, err := xdsproxy.New(c, d.log.Named("xds"))
	if err != nil {
		return coded(ExitListen, err)
	}
	d.xds = server
	d.unbind = append(d.unbind, server.Close)
	return nil
}

// buildMetrics binds the merged endpoint. Its port has a default, and the
// dataplanes of a pod with several would all take the same one; so where nobody
// asked for the port, and as it turns out nobody for Prometheus either, it is
// not needed: see checkMetrics.
func (d *Dataplane) buildMetrics() error {
	c := metricsConfig(d.config.Telemetry.Prometheus)
	c.Registry = d.registry
	if d.admin != nil {
		c.EnvoyURL = "http://" + d.admin.Address() + "/stats/prometheus"
	}
	server, err := metrics.New(c, d.log.Named("metrics"))
	switch {
	case err == nil:
		d.metrics = server
		d.unbind = append(d.unbind, server.Close)
		return nil
	case errors.Is(err, syscall.EADDRINUSE) && !d.config.Given("telemetry-prom-merge-port"):
		d.metricsErr = err
		return nil
	default:
		return coded(ExitListen, err)
	}
}

func (d *Dataplane) buildLifecycle() error {
	drain := drainConfig(d.config)
	if d.definition != nil {
		drain = fitRegistration(drain)
	}
	drain.Proxy = lifecycle.Proxy(noProxy{})
	if d.supervisor != nil {
		drain.Proxy = d.supervisor
		drain.StopTimeout = d.supervisor.StopTimeout()
	}
	drain.Readiness = d.readiness
	drain.Registerer = d.registry
	if d.config.Lifecycle.DumpEnvoyConfigOnExit {
		drain.Dump = d.dumpConfig
	}
	drainer, err := lifecycle.NewDrainer(drain, d.log.Named("lifecycle"))
	if err != nil {
		return coded(ExitConfig, err)
	}
	d.drainer = drainer
	c := lifecycleConfig(d.config.Lifecycle)
	c.Drainer = drainer
	c.Readiness = d.readiness
	c.WaitLive = d.waitLive
	c.Alive = d.alive
	d.logLevel = lifecycle.NewLogLevel(d.newLogLevels(), d.log.Named("lifecycle"))
	c.LogLevel = d.logLevel
	c.Status = d.sections()
	server, err := lifecycle.NewServer(c, d.log.Named("lifecycle"))
	if err != nil {
		return coded(ExitListen, err)
	}
	d.lifecycle = server
	d.unbind = append(d.unbind, server.Close)
	return nil
}
