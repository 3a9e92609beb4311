// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"time"

	"github.com/hashicorp/consul-server-connection-manager/discovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// waitACLs is what is waited for at a server that has just started. It says
// nothing about the token, which it does not know to be good or bad.
const waitACLs = "a Consul server whose ACL system is up"

// What links report, and what that means for the session. These run in the
// links' goroutines and never block.

func (s *Session) linkTrying(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.tryingSince = time.Now()
}

func (s *Session) linkUp(l *link, state discovery.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.connected, l.server, l.conn = true, state.Address.String(), state.GRPCConn
	l.since, l.tryingSince = time.Now(), time.Time{}
	l.refusals = 0
	s.stall.reset()
	if l == s.current {
		s.beginEpochLocked(l)
		return
	}
	select {
	case <-l.established:
	default:
		close(l.established) // Run takes it from here
	}
}

func (s *Session) linkDown(l *link, err error) (usedFor time.Duration) {
	s.mu.Lock()
	if l.connected {
		usedFor = time.Since(l.since)
	}
	wasConnected, isCurrent, server, quiet := l.connected, l == s.current, l.server, l.quiet
	l.connected, l.tryingSince = false, time.Time{}
	if isCurrent && wasConnected {
		s.status.Connected, s.status.Since = false, time.Now()
		s.metrics.connected.Set(0)
		s.notifyLocked()
	}
	s.mu.Unlock()

	switch tr := explain(err); {
	case quiet, tr.kind == kindCanceled: // or it is being left or closed
	case isCurrent && wasConnected && !isUnauthenticated(err):
		s.log.Warn("lost the consul server", "address", server, "error", s.redact(tr.words))
		s.note("a Consul server", err)
	case isUnauthenticated(err):
		s.refused(l, err, wasConnected)
	default:
		s.wait("a Consul server at "+s.cfg.serverSource(), err)
	}
	return usedFor
}

// refused handles the refusal of a link's token by a server. One that accepted
// it before is believed at once.
func (s *Session) refused(l *link, err error, acceptedBefore bool) {
	s.mu.Lock()
	if !isUnready(err) {
		l.refusals++
	}
	lost := l.token.login && time.Since(l.token.since) >= s.tune.settle && !isUnready(err) &&
		(acceptedBefore || l.refusals >= s.tune.confirm)
	quiet := l.quiet
	l.quiet = l.quiet || lost
	s.mu.Unlock()
	switch {
	case quiet:
	case lost:
		s.note("a new token, as the one in use is refused", err) // Run logs it
		l.judge(tokenLost)
	case l.token.login:
		// Not yet known at this server, most likely; the next attempt tells.
		s.log.Debug("token not known at this server", "error", s.words(err))
		s.note("a Consul server that knows the token", err)
	case isUnready(err):
		s.wait(waitACLs, err)
	default:
		if s.countRefusal(err) {
			l.judge(refusedForGood)
		}
		s.wait("a Consul server that accepts the token", err)
	}
}

// beginEpochLocked takes l's server into use.
func (s *Session) beginEpochLocked(l *link) {
	old := s.epoch
	st := &s.status
	s.epoch = &epoch{id: st.Epoch + 1, link: l, conn: l.conn, token: l.token.secret, server: l.server}
	st.Epoch = s.epoch.id
	st.Connected, st.Server, st.Since = true, l.server, time.Now()
	st.TokenAccessor, st.TokenSince = l.token.accessor, l.token.since
	st.Waiting, st.Refused = "", nil
	s.notices = limiter{}
	s.metrics.connected.Set(1)
	s.metrics.epochs.Inc()
	s.metrics.tokenTime(l.token.since)
	s.notifyLocked()
	s.log.Info("connected to a consul server", "address", l.server)
	if old != nil {
		s.lingers.Go(func() {
			s.linger()
			old.end()
		})
	}
}

// linger gives users of the last epoch the time to open new streams.
func (s *Session) linger() {
	timer := time.NewTimer(s.tune.linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.stopping:
	}
}

// leaveServer makes the current link go to another server.
func (s *Session) leaveServer(ctx context.Context, l *link, reason string) {
	s.log.Warn("leaving the consul server", "address", s.serverOf(l), "reason", reason)
	s.metrics.troubles.WithLabelValues("left").Inc()
	if err := l.leave(ctx); grpcCode(err) != codes.ResourceExhausted && ctx.Err() == nil {
		// There is no working connection to leave; a new link makes one.
		l.judge(stuck)
	}
}

// permitted notes that a stream has brought something.
func (s *Session) permitted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wasServed, s.deniedUntil = true, time.Time{}
	s.denials.reset()
}

// denied handles a stream that ended because its token does not allow it. If
// that was allowed before, a new login may bring a token that allows it again.
func (s *Session) denied() {
	s.mu.Lock()
	now := time.Now()
	renew := s.wasServed && !now.Before(s.deniedUntil)
	if renew {
		s.deniedUntil = now.Add(s.denials.delay())
	}
	s.mu.Unlock()
	if renew {
		s.RenewToken("permission denied for what used to be permitted")
	}
}

// heard clears what an answer disproves.
func (s *Session) heard(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == s.current && (s.status.Refused != nil || s.status.Waiting == waitACLs) {
		s.status.Refused, s.status.Waiting = nil, ""
		s.notifyLocked()
	}
}

func (s *Session) isConnected(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.connected
}

func (s *Session) serverOf(l *link) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.server
}

func (s *Session) connOf(l *link) *grpc.ClientConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.conn
}

// isStalled tells whether the link's attempt at a server takes too long. The
// patience grows with every such attempt, so that a slow network is no bar.
func (s *Session) isStalled(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	patience := max(s.stall.next, s.stall.first)
	if l.tryingSince.IsZero() || time.Since(l.tryingSince) < patience {
		return false
	}
	s.stall.delay()
	return true
}
