// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// guard asks the server in use, every few seconds, a question that is cheap for
// it. The answer proves two things that nothing else proves soon: that the
// server is not frozen (its kernel keeps the connection alive, and gRPC's
// keepalive takes a minute), and that it still knows the token (an open xDS
// stream does not end when its token goes).
func (l *link) guard(ctx context.Context) {
	tune := l.session.tune
	interval := tune.probeInterval
	if l.session.cfg.ServerWatchDisabled {
		interval = tune.unwatchedInterval
	}
	for {
		// Up to a fifth more or less, so that pods do not ask in step.
		wait := time.Duration(float64(interval) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // no secret depends on it
		if !l.session.isConnected(l) {
			wait = min(wait, tune.stallFirst/4)
		}
		// Refusals may come by the hundred; they get one question a moment.
		if pause(ctx, tune.probeFloor, nil) != nil || pause(ctx, wait, l.kick) != nil {
			return
		}
		l.check(ctx)
	}
}

func (l *link) check(ctx context.Context) {
	if !l.session.isConnected(l) {
		if l.session.isStalled(l) {
			l.judge(stuck)
		}
		return
	}
	err := l.probe(ctx)
	if isSilent(err) {
		err = l.probe(ctx) // one slow answer is not worth leaving a server
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		l.session.heard(l)
	case isUnauthenticated(err):
		l.session.refused(l, err, true)
	case isSilent(err):
		l.session.leaveServer(ctx, l, "it does not answer")
	}
	// Any other error comes with a broken connection, which the connection
	// manager or watchConnection sees for itself.
}

func (l *link) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.session.tune.probeTimeout)
	defer cancel()
	return askFeatures(ctx, l.session.connOf(l))
}

// askFeatures asks which features a server offers: any known token may, and an
// unknown one is told so.
func askFeatures(ctx context.Context, conn grpc.ClientConnInterface) error {
	_, err := pbdataplane.NewDataplaneServiceClient(conn).
		GetSupportedDataplaneFeatures(ctx, &pbdataplane.GetSupportedDataplaneFeaturesRequest{})
	return err
}

// watchConnection notices a broken connection when no server watch does. The
// connection manager would go on for a minute; a new link finds a server now.
func (l *link) watchConnection(ctx context.Context) {
	select {
	case <-l.established:
	case <-ctx.Done():
		return
	}
	conn := l.session.connOf(l)
	wasReady := false // gRPC may say that it is connecting when the server has answered already
	for state := conn.GetState(); ; state = conn.GetState() {
		wasReady = wasReady || state == connectivity.Ready
		broken := state != connectivity.Ready && (wasReady || state != connectivity.Connecting)
		if broken && l.session.isConnected(l) {
			l.down(status.Error(codes.Unavailable, "the connection broke"))
			l.judge(stuck)
		}
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// leave makes the connection manager leave the server in use. It does so when a
// call over its connection ends with ResourceExhausted, and offers no other
// way; this call ends so before anything of it is sent.
func (l *link) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := pbdataplane.NewDataplaneServiceClient(l.session.connOf(l)).GetSupportedDataplaneFeatures(
		ctx, &pbdataplane.GetSupportedDataplaneFeaturesRequest{}, grpc.PerRPCCredentials(exhausted{}))
	return err
}

// exhausted are credentials that nothing can be sent with.
type exhausted struct{}

var _ credentials.PerRPCCredentials = exhausted{}

func (exhausted) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return nil, status.Error(codes.ResourceExhausted, "leaving this server")
}

func (exhausted) RequireTransportSecurity() bool { return false }

func isUnauthenticated(err error) bool { return grpcCode(err) == codes.Unauthenticated }

// isUnready tells whether a refusal is that of a server that has just started
// and knows no token at all yet.
func isUnready(err error) bool {
	return isUnauthenticated(err) && strings.Contains(serverWords(err), "ACL system must be bootstrapped")
}

func isSilent(err error) bool { return grpcCode(err) == codes.DeadlineExceeded }
