// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"

	"podplane/envoybootstrap"
	"podplane/metrics"
)

// telemetry is the way of podplane's own metrics out of the process, besides
// the merged endpoint.
type telemetry struct {
	bridge *metrics.Bridge
	known  chan struct{} // closed when Consul has told of the sinks
	sinks  []metrics.Sink
}

// buildTelemetry registers what no part of the dataplane does by itself. It is
// the first of the builders: the connection manager must find the bridge.
func (d *Dataplane) buildTelemetry() error {
	bridge, err := metrics.NewBridge(d.registry)
	if err != nil {
		return err
	}
	if err := bridge.InstallGlobally(); err != nil {
		return err
	}
	d.telemetry = telemetry{bridge: bridge, known: make(chan struct{})}
	return d.registry.Register(metrics.NewCompat(metrics.CompatSources{
		EnvoyConnected:  func() bool { return d.xds != nil && d.xds.Status().EnvoyConnected },
		ConsulConnected: func() bool { return d.session.Status().Connected },
	}))
}

// pushTo names the servers to which runPush sends, once Consul has told what is
// in the proxy's config. It is called once.
func (d *Dataplane) pushTo(t envoybootstrap.Telemetry, c envoybootstrap.Config, p envoybootstrap.Params) error {
	tags, err := envoybootstrap.FixedTags(c, p)
	if err != nil {
		return coded(ExitBootstrap, err)
	}
	add := func(s envoybootstrap.Sink, dogstatsd bool) {
		if s.Enabled() {
			d.telemetry.sinks = append(d.telemetry.sinks,
				metrics.Sink{Network: s.Network, Addr: s.Address, Dogstatsd: dogstatsd, Tags: tags})
		}
	}
	add(t.Statsd, false)
	add(t.Dogstatsd, true)
	close(d.telemetry.known)
	return nil
}

// runPush pushes the own metrics to where the proxy's config says. Until that is
// known, and if it says nothing, it only waits.
func (d *Dataplane) runPush(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.telemetry.known:
	}
	pusher, err := metrics.NewPusher(metrics.PushConfig{
		Gatherer: d.registry,
		Sinks:    d.telemetry.sinks,
	}, d.log.Named("statsd"))
	if err != nil {
		return coded(ExitBootstrap, err)
	}
	return pusher.Run(ctx)
}

// metricsStatus is the metrics section of /status.
type metricsStatus struct {
	Address  string                 `json:"address,omitempty"`
	Error    string                 `json:"error,omitempty"` // why nothing is served
	Sources  []metrics.SourceStatus `json:"sources,omitempty"`
	PushedTo []string               `json:"pushed_to,omitempty"`
}

func (d *Dataplane) metricsSection(context.Context) (any, error) {
	var st metricsStatus
	if d.metrics != nil {
		st.Address, st.Sources = d.metrics.Addr().String(), d.metrics.Status()
	} else if d.metricsErr != nil {
		st.Error = d.metricsErr.Error()
	}
	select {
	case <-d.telemetry.known:
		for _, s := range d.telemetry.sinks {
			st.PushedTo = append(st.PushedTo, s.Network+" "+s.Addr)
		}
	default:
	}
	return st, nil
}
