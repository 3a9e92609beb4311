// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdns"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Metadata keys of the tenancy, as Consul's servers read them. Servers of the
// community edition ignore them.
const (
	namespaceKey = "x-consul-namespace"
	partitionKey = "x-consul-partition"
)

// settleTimeout bounds the wait for a token that is in order again. It is below
// the time after which resolvers ask again.
const settleTimeout = 2 * time.Second

// consul asks the Consul servers.
type consul struct {
	client  pbdns.DNSServiceClient
	tenancy metadata.MD // read only
	settle  func(context.Context, time.Time) bool
	log     hclog.Logger
	down    atomic.Bool  // no query has got an answer for a while
	good    atomic.Int64 // when one last got an answer, in Unix nanoseconds
}

func newConsul(c Config, log hclog.Logger) *consul {
	tenancy := metadata.MD{}
	if c.Namespace != "" {
		tenancy.Set(namespaceKey, c.Namespace)
	}
	if c.Partition != "" {
		tenancy.Set(partitionKey, c.Partition)
	}
	return &consul{
		client:  pbdns.NewDNSServiceClient(c.Conn),
		tenancy: tenancy,
		settle:  c.Settle,
		log:     log,
	}
}

// exchange gives the servers' answer to q. A query that met a change of token
// or server is repeated, so that the client does not see it.
func (c *consul) exchange(ctx context.Context, q *query) (message, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("wait to query consul: %w", ctx.Err())
	}
	sent := time.Now()
	answer, err := c.query(ctx, q)
	if c.settle != nil && (err != nil || answer.rcode() == rcodeServerFailure) && c.settled(ctx, sent) {
		answer, err = c.query(ctx, q)
	}
	c.note(ctx, err)
	if err != nil {
		return nil, fmt.Errorf("query consul: %w", err)
	}
	return answer, nil
}

func (c *consul) settled(ctx context.Context, sent time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	return c.settle(ctx, sent) && ctx.Err() == nil
}

// query asks the server in use once.
func (c *consul) query(ctx context.Context, q *query) (message, error) {
	request := &pbdns.QueryRequest{Msg: q.message, Protocol: pbdns.Protocol_PROTOCOL_UDP}
	if q.transport == overTCP {
		request.Protocol = pbdns.Protocol_PROTOCOL_TCP
	}
	response, err := c.client.Query(metadata.NewOutgoingContext(ctx, c.tenancy), request, grpc.WaitForReady(false))
	if undecodable(err) {
		return failure(q, rcodeFormatError), nil
	}
	if err != nil {
		return nil, err
	}
	return response.GetMsg(), checkResponse(response.GetMsg(), q)
}

// undecodable tells whether the server could not read the query, which it says
// in words only.
func undecodable(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Internal && strings.Contains(s.Message(), "decoding dns request")
}

// silence is for how long no query gets an answer before that is worth a line
// in the log. Servers that have more to do than they can leave some queries
// without an answer, between others that they answer.
const silence = time.Second

// note logs when the servers cease to answer and when they answer again, but
// not each query.
func (c *consul) note(ctx context.Context, err error) {
	now := time.Now().UnixNano()
	switch {
	case err == nil:
		c.good.Store(now)
		if c.down.CompareAndSwap(true, false) {
			c.log.Info("the consul servers answer dns queries again")
		}
	case errors.Is(context.Cause(ctx), errStopping):
	case now-c.good.Load() < int64(silence):
	case c.down.CompareAndSwap(false, true):
		c.log.Warn("the consul servers do not answer dns queries", "error", err)
	}
}
