// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// silence is how long a proxy that was never configured waits for a first
	// answer before it says so. A server that cannot sign the proxy's certificate
	// says nothing at all.
	silence = 10 * time.Second

	defaultFirstPatience = 5 * time.Second
	// maxPatience bounds what becomes of it where nobody answers.
	maxPatience = 5 * time.Minute
)

// tellSilence warns of a proxy that gets no configuration although a server has
// its subscription.
func (s *Server) tellSilence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.LastMessage.IsZero() && s.status.UpstreamConnected {
		s.log.Warn("the consul server has sent no configuration so far; it may lack a leader, or the token the permission service:write",
			"waited", silence)
	}
}

// awaitAnswer leaves the server of the given epoch if it has not answered on a
// stream in time. The server may be well and answer all else: one that has asked a
// leader for a certificate which froze then waits for half a minute, whoever leads
// meanwhile. Another server knows nothing of that. The function that is given ends
// the waiting.
func (ss *session) awaitAnswer(epoch uint64, heard *atomic.Bool) (stop func()) {
	s := ss.server
	if s.config.Leave == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	patience, over := s.patience, false
	var late *time.Timer
	late = time.AfterFunc(spread(patience), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		due := patience
		if asked := ss.ledger.introduced; !asked.IsZero() {
			due -= s.now().Sub(asked)
		}
		switch {
		case over || heard.Load() || s.config.epoch() != epoch:
		case due > 0: // Envoy has asked late, or not at all
			late.Reset(spread(due))
		default: // when all are silent, they are to have more and more peace
			s.patience = max(s.patience, min(2*patience, maxPatience))
			s.config.Leave("it does not answer on the xds stream")
		}
	})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		late.Stop()
	}
}

// spread lengthens a time by up to as much again, so that the proxies of a fleet
// that came to a server together do not leave it together.
func spread(d time.Duration) time.Duration {
	return d + rand.N(d) //nolint:gosec // no secret depends on it
}
