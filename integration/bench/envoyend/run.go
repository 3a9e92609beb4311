// SPDX-License-Identifier: MPL-2.0

package envoyend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/control"
)

const (
	// Role is what an Envoy says of itself, and its executable's name.
	Role = "envoy"
	// EventLive is said when it is LIVE.
	EventLive = "live"

	// CommandThroughput takes a [Load] and gives a [Times].
	CommandThroughput = "throughput"
	// CommandRoundTrips takes a [Load] and gives a [Times].
	CommandRoundTrips = "round trips"
	// CommandAwait takes an [Expect] and gives when it came, see control.Now.
	CommandAwait = "await"
)

// ControlPath is where an Envoy whose executable is in the folder finds the
// benchmark. A dataplane passes no argument on that could name it.
func ControlPath(dir string) string { return filepath.Join(dir, "control.sock") }

// Load says what to receive.
type Load struct {
	// Direct is the address of the server to receive from; empty: through the
	// dataplane.
	Direct string
	// Count responses of Size bytes.
	Count, Size int
	// Within bounds it.
	Within time.Duration
}

// Times are those of a load, in nanoseconds.
type Times struct {
	Took  int64   `json:",omitempty"` // all responses
	Trips []int64 `json:",omitempty"` // from each answer to the next response
}

// Expect is a version of a resource, and how long to wait for it.
type Expect struct {
	Type, Name, Version string
	Within              time.Duration
}

// envoy is the state of the program.
type envoy struct {
	adminAddress string
	proxied      *client
	quit         chan struct{}
	once         sync.Once

	mu     sync.Mutex
	live   bool
	direct map[string]*client // by address
}

// Run plays Envoy until it is asked to quit, the benchmark hangs up, or ctx ends.
// args are Envoy's, args[0] the path of the executable.
func Run(ctx context.Context, args []string) error {
	program, err := control.Dial(ctx, ControlPath(filepath.Dir(args[0])))
	if err != nil {
		return err
	}
	if err := program.Hello(Role, ""); err != nil {
		return err
	}
	boot, err := load(args[1:])
	if err != nil {
		return fmt.Errorf("read the bootstrap: %w", err)
	}
	e := &envoy{quit: make(chan struct{}), direct: make(map[string]*client), adminAddress: boot.admin}
	boot.target.wildcards = []string{consulend.ClusterType, consulend.ListenerType}
	boot.target.complete = func() {
		e.mu.Lock()
		e.live = true
		e.mu.Unlock()
		_ = program.Event(EventLive) // if it fails, Serve ends
	}
	if e.proxied, err = newClient(boot.target); err != nil {
		return err
	}
	return e.run(ctx, program)
}

// run joins all that it starts.
func (e *envoy) run(ctx context.Context, program *control.Program) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := net.Listen("tcp", e.adminAddress)
	if err != nil {
		return fmt.Errorf("listen for admin: %w", err)
	}
	srv := &http.Server{Handler: e.admin(), ReadHeaderTimeout: 10 * time.Second}
	var parts sync.WaitGroup
	var served, steered error
	parts.Go(func() {
		defer cancel()
		served = srv.Serve(l)
	})
	parts.Go(func() {
		defer cancel()
		steered = program.Serve(ctx, e.commands())
	})
	e.proxied.start(ctx)
	select {
	case <-ctx.Done():
	case <-e.quit:
	}
	cancel()
	err = srv.Close()
	parts.Wait()
	e.proxied.close()
	for _, c := range e.direct {
		c.close()
	}
	if errors.Is(served, http.ErrServerClosed) {
		served = nil
	}
	return errors.Join(err, served, steered)
}

func (e *envoy) commands() map[string]control.Handler {
	return map[string]control.Handler{
		CommandThroughput: control.Handle(func(ctx context.Context, l Load) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, l.Within)
			defer cancel()
			c, err := e.client(ctx, l.Direct)
			if err != nil {
				return nil, err
			}
			took, err := c.throughput(ctx, l.Count, l.Size)
			return Times{Took: took}, err
		}),
		CommandRoundTrips: control.Handle(func(ctx context.Context, l Load) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, l.Within)
			defer cancel()
			c, err := e.client(ctx, l.Direct)
			if err != nil {
				return nil, err
			}
			trips, err := c.roundTrips(ctx, l.Count, l.Size)
			return Times{Trips: trips}, err
		}),
		CommandAwait: control.Handle(func(ctx context.Context, x Expect) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, x.Within)
			defer cancel()
			return e.proxied.await(ctx, x.Type, x.Name, x.Version)
		}),
	}
}

// client gives the stream to an address, which stays open, or the proxied one.
func (e *envoy) client(ctx context.Context, direct string) (*client, error) {
	if direct == "" {
		return e.proxied, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.direct[direct]
	if !ok {
		var err error
		if c, err = newClient(target{network: "tcp", address: direct, node: e.proxied.target.node}); err != nil {
			return nil, err
		}
		// It outlives the command; the context of the command is only for waiting.
		c.start(context.WithoutCancel(ctx))
		e.direct[direct] = c
	}
	return c, nil
}
