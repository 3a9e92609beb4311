// SPDX-License-Identifier: MPL-2.0

package consulend

import (
	"context"
	"fmt"
	"net"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"github.com/hashicorp/consul/proto-public/pbserverdiscovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"podplane/integration/bench/control"
)

// Role is what a server says of itself.
const Role = "consul"

// The commands that a server takes.
const (
	// CommandSet takes a [Set].
	CommandSet = "set"
	// CommandUpdate takes an [Update] and is done when all is sent.
	CommandUpdate = "update"
	// CommandStreams gives the number of open ADS streams.
	CommandStreams = "streams"
)

// Set gives a cluster a version, and sends it to who is subscribed.
type Set struct {
	Name, Version string
}

// Update sends Count clusters of Size bytes, one response each, under Names names
// in turn: see [UpdateName]. Versions count from 1.
type Update struct {
	Count, Size, Names int
}

// UpdateName is the name of the cluster that update number n, from 1, is about.
func (u Update) UpdateName(n int) string { return fmt.Sprintf("update-%d", n%u.Names) }

// Config says how a server is run.
type Config struct {
	Control string   // path of the benchmark's socket
	Listen  string   // address to serve at
	Servers []string // addresses of all servers, this one too
	// ProxyConfig is the opaque configuration of the proxy.
	ProxyConfig map[string]any
}

// Run serves until the benchmark hangs up or ctx ends.
func Run(ctx context.Context, config Config) error {
	l, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return err
	}
	s := newServer(config)
	// As Consul allows its clients: they ask every 30 seconds whether it is there.
	g := grpc.NewServer(grpc.MaxSendMsgSize(2*maxBody), grpc.KeepaliveEnforcementPolicy(
		keepalive.EnforcementPolicy{MinTime: 15 * time.Second, PermitWithoutStream: true}))
	pbdataplane.RegisterDataplaneServiceServer(g, s)
	pbserverdiscovery.RegisterServerDiscoveryServiceServer(g, s)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	defer func() {
		g.Stop()
		<-served
	}()
	program, err := control.Dial(ctx, config.Control)
	if err != nil {
		return err
	}
	if err := program.Hello(Role, l.Addr().String()); err != nil {
		return err
	}
	return program.Serve(ctx, map[string]control.Handler{
		CommandSet: control.Handle(func(_ context.Context, set Set) (any, error) {
			return nil, s.set(set)
		}),
		CommandUpdate: control.Handle(func(ctx context.Context, u Update) (any, error) {
			return nil, s.update(ctx, u)
		}),
		CommandStreams: control.Handle(func(context.Context, struct{}) (any, error) {
			return s.count(), nil
		}),
	})
}
