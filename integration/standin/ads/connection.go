// SPDX-License-Identifier: MPL-2.0

package ads

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// Dialer connects to an endpoint of the xDS cluster; each call may choose another.
type Dialer func(ctx context.Context) (net.Conn, error)

// endpoint is a network and address as net.Dial takes them.
type endpoint struct{ network, address string }

// NewDialer makes a dialer over the endpoints of a static or DNS cluster, in
// turn. The error names what of the cluster the stand-in cannot use.
func NewDialer(cluster *clusterv3.Cluster) (Dialer, error) {
	if name := cluster.GetTransportSocket().GetName(); name != "" && name != "envoy.transport_sockets.raw_buffer" {
		return nil, fmt.Errorf("xds cluster %s: transport socket %s is not supported", cluster.GetName(), name)
	}
	switch cluster.GetType() {
	case clusterv3.Cluster_STATIC, clusterv3.Cluster_STRICT_DNS, clusterv3.Cluster_LOGICAL_DNS:
	default:
		return nil, fmt.Errorf("xds cluster %s: a cluster of type %s cannot serve the configuration",
			cluster.GetName(), cluster.GetType())
	}
	var endpoints []endpoint
	for _, locality := range cluster.GetLoadAssignment().GetEndpoints() {
		for _, lb := range locality.GetLbEndpoints() {
			e, err := resolve(lb.GetEndpoint().GetAddress())
			if err != nil {
				return nil, fmt.Errorf("xds cluster %s: %w", cluster.GetName(), err)
			}
			endpoints = append(endpoints, e)
		}
	}
	if len(endpoints) == 0 {
		return nil, fmt.Errorf("xds cluster %s: no endpoints", cluster.GetName())
	}
	return roundRobin(endpoints), nil
}

// resolve reads an address. A pipe that starts with "@" is in Linux's abstract
// namespace, in net's notation as in Envoy's.
func resolve(a *corev3.Address) (endpoint, error) {
	if p := a.GetPipe(); p != nil {
		return endpoint{network: "unix", address: p.GetPath()}, nil
	}
	s := a.GetSocketAddress()
	if s == nil {
		return endpoint{}, errors.New("an endpoint has neither a socket address nor a pipe")
	}
	return endpoint{network: "tcp", address: net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPortValue())))}, nil
}

func roundRobin(endpoints []endpoint) Dialer {
	var mu sync.Mutex
	turn := 0
	return func(ctx context.Context) (net.Conn, error) {
		mu.Lock()
		e := endpoints[turn%len(endpoints)]
		turn++
		mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, e.network, e.address)
	}
}

// connection is the HTTP/2 connection under the stream. A stream that ends
// leaves it in place; one that broke is replaced at the next attempt, so that
// Envoy's pause between attempts is the only one.
type connection struct {
	cfg Config
	cc  *grpc.ClientConn
}

func newConnection(cfg Config) *connection { return &connection{cfg: cfg} }

func (c *connection) open(ctx context.Context) (stream, error) {
	if c.cc != nil {
		if s := c.cc.GetState(); s == connectivity.TransientFailure || s == connectivity.Shutdown {
			c.close()
		}
	}
	if c.cc == nil {
		cc, err := c.dial()
		if err != nil {
			return nil, err
		}
		c.cc = cc
	}
	return discoveryv3.NewAggregatedDiscoveryServiceClient(c.cc).DeltaAggregatedResources(ctx)
}

func (c *connection) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+c.cfg.Cluster,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(c.cfg.Cluster),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.cfg.Dial(ctx) }),
		// Envoy has no limit on the size of a message.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt), grpc.MaxCallSendMsgSize(math.MaxInt)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: c.cfg.ConnectTimeout}),
	)
}

func (c *connection) close() {
	if c.cc != nil {
		// Closing fails only if it is closed already.
		_ = c.cc.Close()
		c.cc = nil
	}
}
