// SPDX-License-Identifier: MPL-2.0

package envoyend

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"podplane/integration/bench/control"
)

// Envoy's pauses between streams:
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol.
const (
	retryBase = 500 * time.Millisecond
	retryMax  = 30 * time.Second
)

// maxMessage is what a client takes in one message, in bytes.
const maxMessage = 1 << 30

// target says where an ADS stream leads.
type target struct {
	network, address string
	node             *corev3.Node
	metadata         metadata.MD
	// wildcards are the types that are asked for as a whole, each when the one
	// before it is answered.
	wildcards []string
	// complete is called when all of them were answered for the first time.
	complete func()
}

// held is a resource that the client has.
type held struct {
	version string
	at      int64 // when it came, see control.Now
}

// client keeps an ADS stream open and notes what comes.
type client struct {
	target  target
	conn    *grpc.ClientConn
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	stream   discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient // nil while there is none
	asked    int                                                                   // of the wildcards, on this stream
	resource map[string]map[string]held                                            // by type, then name
	changed  chan struct{}                                                         // closed at the next change of any of this
	meter    *meter                                                                // nil: nothing is measured
	done     bool                                                                  // complete was called
}

func newClient(t target) (*client, error) {
	conn, err := grpc.NewClient("passthrough:///ads",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, t.network, t.address)
		}))
	if err != nil {
		return nil, err
	}
	return &client{target: t, conn: conn, resource: make(map[string]map[string]held), changed: make(chan struct{})}, nil
}

// start opens the stream, again and again, until close.
func (c *client) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.running.Go(func() { c.run(ctx) })
}

func (c *client) close() {
	c.cancel()
	c.running.Wait()
	_ = c.conn.Close()
}

func (c *client) run(ctx context.Context) {
	for pause := retryBase; ; {
		received, err := c.session(ctx)
		if received {
			pause = retryBase
		}
		if ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "benchmark's envoy: stream to %s ended: %v\n", c.target.address, err)
		}
		timer := time.NewTimer(rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, retryMax)
		// Envoy's own connection pool has no memory of a failed connection.
		c.conn.ResetConnectBackoff()
	}
}

// session is one stream, from its start to its end, with the cause of that;
// received tells whether anything came.
func (c *client) session(ctx context.Context) (received bool, err error) {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, c.target.metadata))
	defer cancel()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(c.conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return false, err
	}
	c.opened(stream)
	defer c.opened(nil)
	for {
		r, err := stream.Recv()
		if err != nil {
			return received, err
		}
		received = true
		if err := c.take(stream, r, control.Now()); err != nil {
			return received, err
		}
	}
}

// opened begins or ends a stream. A measurement does not outlive its stream.
func (c *client) opened(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream, c.asked = stream, 0
	if c.meter != nil {
		c.meter.end(errors.New("the stream was cut"))
		c.meter = nil
	}
	if stream != nil && len(c.target.wildcards) > 0 {
		_ = c.ask(stream) // Recv tells why it failed
	}
	c.notify()
}

// notify wakes who waits. The caller holds mu.
func (c *client) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// ask subscribes to the next of the wildcards. The caller holds mu.
func (c *client) ask(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient) error {
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: c.target.wildcards[c.asked], InitialResourceVersions: make(map[string]string)}
	if c.asked == 0 {
		r.Node = c.target.node
	}
	for name, h := range c.resource[r.TypeUrl] {
		r.InitialResourceVersions[name] = h.version
	}
	c.asked++
	return stream.Send(r)
}

// take notes a response and answers it.
func (c *client) take(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, r *discoveryv3.DeltaDiscoveryResponse, now int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ack := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
	if m := c.meter; m != nil && m.of(r) {
		if m.note(now) {
			c.meter = nil
			// Before the answer, which would bring another response.
			bye := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResourceNamesUnsubscribe: []string{m.name}}
			if err := stream.Send(bye); err != nil {
				return err
			}
		}
		err := stream.Send(ack)
		m.sent = control.Now()
		return err
	}
	c.hold(r, now)
	if err := stream.Send(ack); err != nil {
		return err
	}
	return c.proceed(stream, r.GetTypeUrl())
}

// hold notes what a response brings and takes away. The caller holds mu.
func (c *client) hold(r *discoveryv3.DeltaDiscoveryResponse, now int64) {
	of := c.resource[r.GetTypeUrl()]
	if of == nil {
		of = make(map[string]held)
		c.resource[r.GetTypeUrl()] = of
	}
	for _, resource := range r.GetResources() {
		of[resource.GetName()] = held{version: resource.GetVersion(), at: now}
	}
	for _, name := range r.GetRemovedResources() {
		delete(of, name)
	}
	c.notify()
}

// proceed asks for the next type when the one before it was answered. The caller
// holds mu.
func (c *client) proceed(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, answered string) error {
	if c.asked == 0 || c.target.wildcards[c.asked-1] != answered {
		return nil
	}
	if c.asked < len(c.target.wildcards) {
		return c.ask(stream)
	}
	if !c.done {
		c.done = true
		c.target.complete()
	}
	return nil
}

// await waits until the client has a resource in a version and gives when it came.
func (c *client) await(ctx context.Context, typeURL, name, version string) (at int64, err error) {
	for {
		c.mu.Lock()
		h, changed := c.resource[typeURL][name], c.changed
		c.mu.Unlock()
		if h.version == version {
			return h.at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("version %q of %q did not come, the client has %q: %w", version, name, h.version, ctx.Err())
		}
	}
}
