// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"net/netip"

	"github.com/hashicorp/consul/proto-public/pbdataplane"

	"podplane/envoybootstrap"
)

// runEnvoy waits for what Envoy needs and keeps Envoy running.
func (d *Dataplane) runEnvoy(ctx context.Context) error {
	bootstrap, err := d.fetchBootstrap(ctx)
	if err != nil {
		if ctx.Err() != nil || d.shuttingDown() {
			return d.waitForDrainer(ctx)
		}
		return err
	}
	err = d.supervisor.Run(ctx, func(context.Context) ([]byte, error) { return bootstrap, nil })
	if err != nil {
		return coded(ExitEnvoy, err)
	}
	return d.waitForDrainer(ctx)
}

// waitForDrainer leaves the end to the drainer, which knows whether Envoy ended
// because it was asked to.
func (d *Dataplane) waitForDrainer(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-d.drainer.Done():
	}
	return nil
}

func (d *Dataplane) shuttingDown() bool {
	select {
	case <-d.drainer.Asked():
		return true
	default:
		return false
	}
}

// fetchBootstrap asks Consul about the proxy and builds Envoy's bootstrap. A
// shutdown ends the wait by ctx: without an Envoy it is over at once, and with
// it the group.
func (d *Dataplane) fetchBootstrap(ctx context.Context) ([]byte, error) {
	answer, err := d.bootstrapAnswer(ctx)
	if err != nil {
		return nil, err
	}
	config, params := d.bootstrapConfig(), bootstrapParams(answer)
	telemetry, err := envoybootstrap.ReadTelemetry(config, params)
	if err != nil {
		return nil, coded(ExitBootstrap, err)
	}
	if err := d.checkMetrics(telemetry); err != nil {
		return nil, err
	}
	if err := d.pushTo(telemetry, config, params); err != nil {
		return nil, err
	}
	bootstrap, err := envoybootstrap.Build(config, params)
	return bootstrap, coded(ExitBootstrap, err)
}

// checkMetrics decides what a default merge port that was taken means: nothing
// much, unless Envoy is to serve what is merged there.
func (d *Dataplane) checkMetrics(t envoybootstrap.Telemetry) error {
	switch {
	case d.metrics != nil:
		return nil
	case t.PrometheusBindAddr != "":
		return coded(ExitListen, d.metricsErr)
	default:
		d.log.Warn("own metrics are not served", "error", d.metricsErr)
		return nil
	}
}

func (d *Dataplane) runMetrics(ctx context.Context) error {
	if d.metrics == nil {
		<-ctx.Done()
		return nil
	}
	return d.metrics.Run(ctx)
}

func (d *Dataplane) dumpConfig(ctx context.Context) error {
	return d.admin.ConfigDump(ctx, d.stdout)
}

// bootstrapConfig is what the settings and the addresses that were bound say
// about the bootstrap.
func (d *Dataplane) bootstrapConfig() envoybootstrap.Config {
	c := bootstrapConfig(d.config)
	c.XDS = envoybootstrap.XDS{Address: d.xds.Addr().String(), Secret: d.xdsSecret}
	c.Prometheus.Merge = d.mergeAddress()
	c.Getenv = getenv
	return c
}

// mergeAddress is where the merged metrics were bound; zero if they were not.
func (d *Dataplane) mergeAddress() envoybootstrap.Address {
	if d.metrics == nil {
		return envoybootstrap.Address{}
	}
	bound := netip.MustParseAddrPort(d.metrics.Addr().String())
	return envoybootstrap.Address{Host: bound.Addr().Unmap().String(), Port: int(bound.Port())}
}

func bootstrapParams(r *pbdataplane.GetEnvoyBootstrapParamsResponse) envoybootstrap.Params {
	return envoybootstrap.Params{
		Service:     r.GetService(), //nolint:staticcheck // servers before 1.16 send no identity
		Identity:    r.GetIdentity(),
		Namespace:   r.GetNamespace(),
		Partition:   r.GetPartition(),
		Datacenter:  r.GetDatacenter(),
		NodeName:    r.GetNodeName(),
		ProxyConfig: r.GetConfig().AsMap(),
		AccessLogs:  r.GetAccessLogs(),
	}
}
