// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"google.golang.org/grpc/codes"
)

// ErrRefused marks errors by which a server refuses the session's token: no
// retry heals them, but another token or policy does.
var ErrRefused = errors.New("refused by the Consul server")

const (
	// bootstrapTimeout bounds one question for the bootstrap parameters.
	bootstrapTimeout = 5 * time.Second
	// bootstrapLimit bounds the delay between such questions.
	bootstrapLimit = 2 * time.Second
)

// ProxyRef names a registered proxy in the catalog.
type ProxyRef struct {
	// ID is the proxy's service ID. Required.
	ID string
	// NodeID wins over NodeName; one of them is required.
	NodeID   string
	NodeName string
	// Namespace and Partition are Enterprise's; empty is the default.
	Namespace string
	Partition string
}

func (p ProxyRef) request() *pbdataplane.GetEnvoyBootstrapParamsRequest {
	request := &pbdataplane.GetEnvoyBootstrapParamsRequest{
		ServiceId: p.ID, //nolint:staticcheck // what servers before 1.19 look at
		ProxyId:   p.ID,
		Namespace: p.Namespace,
		Partition: p.Partition,
	}
	if p.NodeID != "" {
		request.NodeSpec = &pbdataplane.GetEnvoyBootstrapParamsRequest_NodeId{NodeId: p.NodeID}
	} else {
		request.NodeSpec = &pbdataplane.GetEnvoyBootstrapParamsRequest_NodeName{NodeName: p.NodeName}
	}
	return request
}

// BootstrapParams fetches what Consul knows about the proxy. It waits for the
// session to be established, for the proxy to be registered, and for servers
// that are away, for as long as ctx allows, and says so in the log and Status. A token
// that may not read the proxy's service is a RefusedError, after a short grace.
func (s *Session) BootstrapParams(ctx context.Context, proxy ProxyRef) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	if err := s.WaitReady(ctx); err != nil {
		return nil, fmt.Errorf("fetch bootstrap parameters: %w", err)
	}
	var (
		client       = pbdataplane.NewDataplaneServiceClient(s.Conn())
		delay        = backoff{first: s.tune.retryFirst, limit: bootstrapLimit}
		notices      limiter
		refusedSince time.Time
	)
	changes, unsubscribe := s.Changes()
	defer unsubscribe()
	defer s.setBootstrapError("")
	for {
		response, err := askBootstrap(ctx, client, proxy)
		if err == nil {
			return response, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("fetch bootstrap parameters: %w", ctx.Err())
		}
		code, now := grpcCode(err), time.Now()
		switch {
		case code == codes.InvalidArgument, code == codes.Unimplemented:
			return nil, fmt.Errorf("fetch bootstrap parameters: %s (%s)", s.redact(serverWords(err)), code)
		case isUnready(err):
			refusedSince = time.Time{} // the server knows no token yet, so that it refuses none
		case code == codes.Unauthenticated, code == codes.PermissionDenied:
			if refusedSince.IsZero() {
				refusedSince = now
			}
			// A token from a login that is not known any more is replaced.
			healing := code == codes.Unauthenticated && s.cfg.Credentials.Type == CredentialLogin
			if !healing && now.Sub(refusedSince) >= s.tune.refusalGrace {
				return nil, &RefusedError{"fetch bootstrap parameters", code, s.redact(serverWords(err))}
			}
		default:
			refusedSince = time.Time{}
		}
		s.setBootstrapError(s.words(err))
		if notices.allow(code.String(), now, s.tune.repeat) {
			s.sayBootstrap(proxy, err, now.Sub(notices.since))
		}
		if err := pause(ctx, delay.delay(), changes); err != nil {
			return nil, fmt.Errorf("fetch bootstrap parameters: %w", err)
		}
	}
}

func askBootstrap(ctx context.Context, client pbdataplane.DataplaneServiceClient, proxy ProxyRef) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	return client.GetEnvoyBootstrapParams(ctx, proxy.request())
}

func (s *Session) setBootstrapError(words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.BootstrapError = words
}

func (s *Session) sayBootstrap(proxy ProxyRef, err error, waited time.Duration) {
	node := proxy.NodeID
	if node == "" {
		node = proxy.NodeName
	}
	log := s.log.With("proxy_id", proxy.ID, "node", node, "waited", waited.Round(time.Millisecond))
	if grpcCode(err) == codes.NotFound {
		log.Warn("waiting for the proxy to be registered", "answer", s.redact(serverWords(err)))
		return
	}
	log.Warn("waiting for the bootstrap parameters", "error", s.words(err))
}
