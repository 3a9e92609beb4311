// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const pollInterval = 50 * time.Millisecond

var errEnded = errors.New("server ended")

// awaitReady waits until server i knows a leader and all its peers, has the mesh CA, resolves the
// management token, and accepts connections on its gRPC port.
func (c *Cluster) awaitReady(ctx context.Context, i int) error {
	client := c.ClientAt(i, c.token)
	return poll(ctx, func(ctx context.Context) error {
		if !c.servers[i].running() {
			return fmt.Errorf("%s: %w", c.servers[i].spec.Name, errEnded)
		}
		if err := client.ready(ctx, c.opts); err != nil {
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.GRPCAddr(i))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (c *Client) ready(ctx context.Context, opts Options) error {
	var peers []string
	if err := c.Get(ctx, "/v1/status/peers", &peers); err != nil {
		return err
	}
	if len(peers) != opts.Servers {
		return fmt.Errorf("%d of %d servers are raft peers", len(peers), opts.Servers)
	}
	var leader string
	if err := c.Get(ctx, "/v1/status/leader", &leader); err != nil {
		return err
	}
	if leader == "" {
		return errors.New("no leader yet")
	}
	var roots struct{ ActiveRootID string }
	if err := c.Get(ctx, "/v1/connect/ca/roots", &roots); err != nil {
		return err
	}
	if roots.ActiveRootID == "" {
		return errors.New("no mesh CA yet")
	}
	if !opts.ACL {
		return nil
	}
	return c.Get(ctx, "/v1/acl/token/self", nil)
}

// poll calls try until it succeeds, a server has ended, or ctx is done, and then says what was missing.
func poll(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, still waiting for: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
