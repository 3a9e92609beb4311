// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// The defaults of PushConfig.
const (
	DefaultPushInterval = 10 * time.Second
	DefaultPushPrefix   = "consul_dataplane"
)

// resolveTimeout bounds the look-up of a server's name.
const resolveTimeout = 2 * time.Second

// Sink is a statsd server. Variables in its address are replaced already.
type Sink struct {
	Network   string   // "udp" or "unixgram"
	Addr      string   // host:port, or the path of the socket
	Dogstatsd bool     // labels become tags; otherwise they become part of the name
	Tags      []string // "name:value", added to everything; for Dogstatsd only
}

// PushConfig is what a Pusher needs to know.
type PushConfig struct {
	// Gatherer has the metrics to push.
	Gatherer prometheus.Gatherer

	// Sinks are the servers. With none, Run does nothing until its end.
	Sinks []Sink

	// Prefix is put before every name, with a dot. It takes the place of
	// podplane_ and consul_dataplane_. Default DefaultPushPrefix.
	Prefix string

	// Interval is the time between two pushes. Default DefaultPushInterval.
	Interval time.Duration
}

// Pusher sends the dataplane's own metrics to statsd servers at an interval.
// Between two pushes it keeps nothing but the last value of each counter.
type Pusher struct {
	cfg     PushConfig
	log     hclog.Logger
	outlets []*outlet
	points  points
}

// outlet is a sink and the client for it, nil until its address resolves.
type outlet struct {
	sink   Sink
	client *statsd.Client
	failed bool
}

// NewPusher checks cfg. A nil logger is silent.
func NewPusher(cfg PushConfig, log hclog.Logger) (*Pusher, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if cfg.Gatherer == nil {
		return nil, errors.New("configure statsd: no metrics to push")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPushPrefix
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultPushInterval
	}
	p := &Pusher{cfg: cfg, log: log}
	for _, s := range cfg.Sinks {
		if s.Addr == "" || s.Network != "udp" && s.Network != "unixgram" {
			return nil, fmt.Errorf("configure statsd: %q on network %q is not a statsd server", s.Addr, s.Network)
		}
		p.outlets = append(p.outlets, &outlet{sink: s})
	}
	return p, nil
}

// Run pushes until ctx ends, once more then, and returns nil. A server that is
// not there is never an error: statsd is sent, not delivered.
func (p *Pusher) Run(ctx context.Context) error {
	if len(p.outlets) == 0 {
		<-ctx.Done()
		return nil
	}
	defer p.close()
	tick := time.NewTicker(p.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.push(ctx)
		case <-ctx.Done():
			p.push(context.WithoutCancel(ctx))
			return nil
		}
	}
}

func (p *Pusher) push(ctx context.Context) {
	families, err := p.cfg.Gatherer.Gather()
	if err != nil {
		p.log.Debug("some metrics are missing from the push", "error", err)
	}
	list := p.points.from(families)
	for _, o := range p.outlets {
		client, err := o.connect(ctx, p.cfg.Prefix)
		if err != nil {
			if !o.failed {
				p.log.Warn("statsd server not usable, trying again", "address", o.sink.Addr, "error", err)
			}
			o.failed = true
			continue
		}
		o.failed = false
		for _, pt := range list {
			if err := pt.send(client, o.sink.Dogstatsd); err != nil {
				p.log.Debug("statsd point not sent", "name", pt.name, "error", err)
			}
		}
		if err := client.Flush(); err != nil {
			p.log.Debug("statsd not flushed", "address", o.sink.Addr, "error", err)
		}
	}
}

func (p *Pusher) close() {
	for _, o := range p.outlets {
		if o.client == nil {
			continue
		}
		if err := o.client.Close(); err != nil {
			p.log.Debug("statsd not closed", "address", o.sink.Addr, "error", err)
		}
	}
}

// connect returns the client of o, which it makes if there is none.
func (o *outlet) connect(ctx context.Context, prefix string) (*statsd.Client, error) {
	if o.client != nil {
		return o.client, nil
	}
	// The pools of the library are meant for thousands of points a second.
	options := []statsd.Option{
		statsd.WithNamespace(prefix),
		statsd.WithoutTelemetry(),
		statsd.WithoutClientSideAggregation(),
		statsd.WithBufferPoolSize(64),
		statsd.WithSenderQueueSize(64),
		statsd.WithWorkersCount(1),
	}
	var err error
	switch {
	case !o.sink.Dogstatsd:
		var conn net.Conn
		dialer := net.Dialer{Timeout: resolveTimeout}
		if conn, err = dialer.DialContext(ctx, o.sink.Network, o.sink.Addr); err == nil {
			o.client, err = statsd.NewWithWriter(plainWriter{conn}, append(options, statsd.WithoutOriginDetection(), statsd.WithMaxBytesPerPayload(statsd.OptimalUDPPayloadSize))...)
		}
	case o.sink.Network == "unixgram":
		o.client, err = statsd.New(statsd.UnixAddressDatagramPrefix+o.sink.Addr, append(options, statsd.WithTags(o.sink.Tags))...)
	default:
		o.client, err = statsd.New(o.sink.Addr, append(options, statsd.WithTags(o.sink.Tags))...)
	}
	return o.client, err
}
