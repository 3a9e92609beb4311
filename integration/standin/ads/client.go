// SPDX-License-Identifier: MPL-2.0

package ads

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Config is what a client needs. Node, Dial and Types are required.
type Config struct {
	Logger    hclog.Logger  // nil: no log
	Cluster   string        // name of the xDS cluster: the :authority, and for the log
	Dial      Dialer        // connects to the next endpoint of that cluster
	Metadata  metadata.MD   // initial_metadata of the gRPC service
	Node      *corev3.Node  // who asks
	Types     []Type        // in the order in which Envoy sets them up
	Connected func(up bool) // nil, or told when a stream opens and ends

	// ConnectTimeout bounds one attempt to connect; zero means 5 s.
	ConnectTimeout time.Duration
	// RetryBase and RetryMax bound the jittered pause between streams; zero
	// means Envoy's 500 ms and 30 s.
	RetryBase, RetryMax time.Duration
}

func (cfg Config) withDefaults() Config {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	if cfg.RetryBase == 0 {
		cfg.RetryBase = 500 * time.Millisecond
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = 30 * time.Second
	}
	if cfg.Connected == nil {
		cfg.Connected = func(bool) {}
	}
	return cfg
}

// Client keeps one ADS stream. Make it with [New] and let [Client.Run] work;
// Start and Refresh may be called from anywhere.
type Client struct {
	cfg   Config
	order []*subscription // as they were started; owned by Run
	idle  []*subscription // not yet started; owned by Run
	conn  *connection     // owned by Run

	mu    sync.Mutex
	start map[string]bool // types asked for by Start and not yet seen by Run
	kick  chan struct{}
}

// New makes a client. Nothing is sent before Run, and no type before its Start.
func New(cfg Config) *Client {
	cfg = cfg.withDefaults()
	c := &Client{cfg: cfg, start: map[string]bool{}, kick: make(chan struct{}, 1), conn: newConnection(cfg)}
	for _, t := range cfg.Types {
		c.idle = append(c.idle, newSubscription(t))
	}
	return c
}

// Start subscribes a type. Types that are subscribed by name start by themselves
// with their first name.
func (c *Client) Start(typeURL string) {
	c.mu.Lock()
	c.start[typeURL] = true
	c.mu.Unlock()
	c.Refresh()
}

// Refresh makes the client ask the handlers for their names again.
func (c *Client) Refresh() {
	select {
	case c.kick <- struct{}{}:
	default: // one is pending already
	}
}

// Run keeps a stream open until ctx ends, and reconnects for ever. It returns
// nil then, with every connection closed.
func (c *Client) Run(ctx context.Context) error {
	defer c.conn.close()
	pause := c.cfg.RetryBase
	for ctx.Err() == nil {
		received, err := c.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if received {
			pause = c.cfg.RetryBase
		}
		s := status.Convert(err)
		c.cfg.Logger.Warn("DeltaAggregatedResources gRPC config stream closed",
			"cluster", c.cfg.Cluster, "code", int(s.Code()), "message", s.Message())
		for _, sub := range c.order {
			sub.Handler.Lost()
		}
		if !sleep(ctx, rand.N(pause)) {
			break
		}
		pause = min(2*pause, c.cfg.RetryMax)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

type stream = grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]

// session is the life of one stream; received tells whether the server said
// anything on it, after which the next pause starts from the beginning.
func (c *Client) session(ctx context.Context) (received bool, err error) {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, c.cfg.Metadata))
	s, err := c.conn.open(ctx)
	if err != nil {
		cancel()
		return false, err
	}
	c.cfg.Connected(true)
	defer c.cfg.Connected(false)

	in := receive(ctx, s)
	defer func() {
		cancel()
		for range in { // until the receiver has ended
		}
	}()
	for _, sub := range c.order {
		sub.fresh()
	}
	if err := c.flush(s, nil); err != nil {
		return false, c.cause(in, err)
	}
	for {
		select {
		case <-ctx.Done():
			return received, ctx.Err()
		case <-c.kick:
			err = c.flush(s, nil)
		case m, ok := <-in:
			if !ok {
				return received, ctx.Err()
			}
			if m.err != nil {
				return received, m.err
			}
			received = true
			err = c.handle(s, m.response)
		}
		if err != nil {
			return received, c.cause(in, err)
		}
	}
}

// cause finds why sending failed: gRPC tells that to the receiver only.
func (c *Client) cause(in <-chan message, sendErr error) error {
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	for {
		select {
		case m, ok := <-in:
			if !ok {
				return sendErr
			}
			if m.err != nil {
				return m.err
			}
		case <-timeout.C:
			return sendErr
		}
	}
}

// handle applies a response, asks for what follows from it, and answers it. In
// this order: Envoy's requests for endpoints leave before the ACK of the
// clusters that want them.
func (c *Client) handle(s stream, resp *discoveryv3.DeltaDiscoveryResponse) error {
	sub := c.find(resp.GetTypeUrl())
	if sub == nil {
		c.cfg.Logger.Warn("dropping response for non-existent subscription", "type_url", resp.GetTypeUrl())
		return nil
	}
	c.cfg.Logger.Debug("received DeltaDiscoveryResponse", "type_url", resp.GetTypeUrl(),
		"resources", len(resp.GetResources()), "removed", len(resp.GetRemovedResources()), "nonce", resp.GetNonce())
	refused := sub.apply(resp)
	if refused != nil {
		c.cfg.Logger.Warn("delta config rejected", "type_url", resp.GetTypeUrl(), "error", refused)
	}
	if err := c.flush(s, sub); err != nil {
		return err
	}
	return c.send(s, sub.answer(resp.GetNonce(), refused))
}

func (c *Client) find(typeURL string) *subscription {
	for _, sub := range c.order {
		if sub.URL == typeURL {
			return sub
		}
	}
	return nil
}

// flush starts the types that are due and sends what each type has to say,
// except one that is about to be answered anyway.
func (c *Client) flush(s stream, except *subscription) error {
	c.startDue()
	for _, sub := range c.order {
		if sub == except {
			continue
		}
		if req := sub.next(); req != nil {
			if err := c.send(s, req); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Client) startDue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var idle []*subscription
	for _, sub := range c.idle {
		if c.start[sub.URL] || (!sub.Wildcard && len(sub.Handler.Names()) > 0) {
			sub.started = true
			c.order = append(c.order, sub)
			continue
		}
		idle = append(idle, sub)
	}
	c.idle = idle
}

// send adds the node, which Envoy's delta client puts into every request.
func (c *Client) send(s stream, req *discoveryv3.DeltaDiscoveryRequest) error {
	req.Node = c.cfg.Node
	return s.Send(req)
}

// message is what the receiver hands over; after one with an error comes none.
type message struct {
	response *discoveryv3.DeltaDiscoveryResponse
	err      error
}

// receive reads the stream in a goroutine of its own and closes the channel when
// that has ended. The reader must drain the channel after cancelling ctx.
func receive(ctx context.Context, s stream) <-chan message {
	out := make(chan message)
	go func() {
		defer close(out)
		for {
			resp, err := s.Recv()
			select {
			case out <- message{response: resp, err: err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}
