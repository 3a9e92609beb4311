// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul-server-connection-manager/discovery"
	"github.com/hashicorp/consul/proto-public/pbacl"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// The connection manager can log in too, but once and with one bearer token.
// Here a login is made on a connection of its own, before there is a link: so
// it can be repeated, has a deadline, and its token is known whatever follows.

const (
	// replicationTimeout bounds the wait for a fresh token to be known at the
	// server that gave it. A follower takes 70 to 150 ms, the leader none.
	replicationTimeout = time.Second
	replicationStep    = 20 * time.Millisecond
)

// login gets a token from the first server that answers.
//
// It may give a token although ctx has ended: one that has to be logged out.
func (s *Session) login(ctx context.Context, sec security) (token, error) {
	config := s.cfg.Credentials.Login
	bearer, err := config.bearer()
	if err != nil {
		return token{}, err
	}
	s.secrets.learn(bearer)
	var t token
	err = s.eachServer(ctx, sec, func(atServer context.Context, conn *grpc.ClientConn) error {
		// A login that is cut off may have made a token that nobody knows, so that
		// the end of ctx leaves it a moment to be answered.
		patient, cancel := outlive(atServer, s.tune.serverTimeout, s.tune.endGrace)
		defer cancel()
		response, err := pbacl.NewACLServiceClient(conn).Login(patient, &pbacl.LoginRequest{
			AuthMethod:  config.AuthMethod,
			BearerToken: bearer,
			Meta:        config.Meta,
			Namespace:   config.Namespace,
			Partition:   config.Partition,
			Datacenter:  config.Datacenter,
		})
		if err != nil {
			return err
		}
		given := response.GetToken()
		if given.GetSecretId() == "" {
			return errors.New("the server's answer holds no token")
		}
		s.secrets.learn(given.GetSecretId())
		t = token{secret: given.GetSecretId(), accessor: given.GetAccessorId(), since: time.Now(), login: true}
		return awaitReplication(ctx, conn, t)
	})
	return t, err
}

// awaitReplication waits until the server knows the token. It is a courtesy
// to what follows, which copes with a token that is not known yet, so that only
// the end of ctx is an error.
func awaitReplication(ctx context.Context, conn grpc.ClientConnInterface, t token) error {
	asking, cancel := context.WithTimeout(withToken(ctx, t.secret), replicationTimeout)
	defer cancel()
	for isUnauthenticated(askFeatures(asking, conn)) {
		if pause(asking, replicationStep, nil) != nil {
			break
		}
	}
	return ctx.Err()
}

// logout destroys a token obtained by login; others are left alone. It takes
// the tuning's logoutTimeout, and after the end of ctx no more than its endTimeout.
func (s *Session) logout(ctx context.Context, sec security, t token) {
	if !t.login {
		return
	}
	share := s.tune.logoutTimeout / 3 // of one server, so that a silent one leaves time for others
	if ctx.Err() != nil {
		share = s.tune.endTimeout / 2
	}
	ctx, cancel := outlive(ctx, s.tune.logoutTimeout, s.tune.endTimeout)
	defer cancel()
	request := &pbacl.LogoutRequest{Token: t.secret, Datacenter: s.cfg.Credentials.Login.Datacenter}
	logout := func(ctx context.Context, conn grpc.ClientConnInterface) error {
		ctx, cancel := context.WithTimeout(ctx, share)
		defer cancel()
		_, err := pbacl.NewACLServiceClient(conn).Logout(ctx, request)
		if isDefinite(err) {
			return nil // the token is gone, or not ours to destroy
		}
		return err
	}
	err, silent := errNoSession, ""
	if e, usable := s.usable(); usable == nil {
		if err = logout(withToken(ctx, e.token), e.conn); isSilent(err) {
			silent = e.server
		}
	}
	if err != nil {
		inUse := err
		err = s.eachServer(ctx, sec, func(ctx context.Context, conn *grpc.ClientConn) error {
			if silent != "" && conn.Target() == passthrough+silent {
				return inUse
			}
			return logout(withToken(ctx, t.secret), conn)
		})
	}
	if err != nil {
		s.log.Warn("logout did not succeed, the token stays until it expires", "accessor", t.accessor, "error", s.words(err))
		return
	}
	s.log.Debug("logged out", "accessor", t.accessor)
}

// eachServer calls do with a connection to one server after the other, in
// random order, until one succeeds or gives a definite answer.
func (s *Session) eachServer(ctx context.Context, sec security, do func(context.Context, *grpc.ClientConn) error) error {
	config := discovery.Config{Addresses: s.cfg.Addresses, GRPCPort: s.cfg.GRPCPort}
	found, err := discovery.NewNetaddrsDiscoverer(config, newWatcherLog(s.log, nil)).Discover(ctx)
	if err != nil {
		return fmt.Errorf("discover Consul server addresses: %w", err)
	}
	rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] }) //nolint:gosec // no secret depends on it
	err = errors.New("discover Consul server addresses: none found")
	for _, addr := range found {
		if err = s.atServer(ctx, sec, addr.String(), do); err == nil || isDefinite(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// passthrough makes gRPC take an address as it is.
const passthrough = "passthrough:///"

func (s *Session) atServer(ctx context.Context, sec security, addr string, do func(context.Context, *grpc.ClientConn) error) error {
	conn, err := grpc.NewClient(passthrough+addr,
		grpc.WithTransportCredentials(sec.transport()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, s.tune.serverTimeout)
	defer cancel()
	return do(ctx, conn)
}

// outlive gives a context that ends after limit, and a grace after ctx has ended.
func outlive(ctx context.Context, limit, grace time.Duration) (context.Context, context.CancelFunc) {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	late := time.AfterFunc(limit, cancel)
	stop := context.AfterFunc(ctx, func() { late.Reset(grace) })
	return patient, func() {
		stop()
		late.Stop()
		cancel()
	}
}

// isDefinite tells whether every server would answer a login or logout so.
func isDefinite(err error) bool {
	if isUnready(err) {
		return false
	}
	switch grpcCode(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument:
		return true
	}
	return false
}
