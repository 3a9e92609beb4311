// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"sync"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"github.com/hashicorp/go-hclog"
)

// defaultFetchTimeout is how long Envoy waits for a first answer where a config
// source says nothing. Source: core.v3.ConfigSource.initial_fetch_timeout.
const defaultFetchTimeout = 15 * time.Second

// state is where the server is. It is safe for concurrent use.
type state struct {
	mu     sync.Mutex
	phase  adminv3.ServerInfo_State // PRE_INITIALIZING, INITIALIZING or LIVE
	failed bool                     // /healthcheck/fail
}

func newState() *state { return &state{phase: adminv3.ServerInfo_PRE_INITIALIZING} }

func (s *state) enter(phase adminv3.ServerInfo_State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phase
}

func (s *state) fail(failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = failed
}

// failing tells whether /healthcheck/fail is in force.
func (s *state) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// get is the state as Envoy shows it: a server that is told to fail its health
// check counts as draining, but only once it is live.
func (s *state) get() adminv3.ServerInfo_State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == adminv3.ServerInfo_LIVE && s.failed {
		return adminv3.ServerInfo_DRAINING
	}
	return s.phase
}

// source is one configuration that initialisation waits for: clusters with
// their endpoints, or listeners with their routes.
type source struct {
	name    string // "cds" or "lds", for the log
	phase   adminv3.ServerInfo_State
	dynamic bool            // false: there is only what the bootstrap has
	timeout time.Duration   // for the first answer; zero waits for ever
	start   func()          // subscribes
	arrived <-chan struct{} // closed with the first answer
	warming func() []string // what is accepted and not ready yet
}

// initialiser takes the server from start to LIVE.
type initialiser struct {
	logger hclog.Logger
	state  *state
	// changed is signalled when warming may have something new to say.
	changed <-chan struct{}
	sources []source
	workers func() // called once, before LIVE is entered: who sees LIVE may connect
	live    func() // called once, after LIVE is entered
}

// run goes through the sources in order. It returns early when ctx ends.
func (i *initialiser) run(ctx context.Context) error {
	for _, s := range i.sources {
		i.state.enter(s.phase)
		if s.dynamic {
			i.logger.Info("initializing", "source", s.name)
			s.start()
			if !i.await(ctx, s) {
				return nil
			}
		}
		if !i.warm(ctx, s) {
			return nil
		}
		i.logger.Info("initialized", "source", s.name)
	}
	i.logger.Info("all dependencies initialized. starting workers")
	i.workers()
	i.state.enter(adminv3.ServerInfo_LIVE)
	i.live()
	return nil
}

// await waits for the first answer; false means that ctx ended.
func (i *initialiser) await(ctx context.Context, s source) bool {
	var expired <-chan time.Time
	if s.timeout > 0 {
		timer := time.NewTimer(s.timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-s.arrived:
	case <-expired:
		i.logger.Warn("initial fetch timed out", "type", s.name)
	case <-ctx.Done():
		return false
	}
	return true
}

// warm waits until nothing of the source is warming. What Envoy subscribes for
// it by name has the default timeout, after which it goes on without.
func (i *initialiser) warm(ctx context.Context, s source) bool {
	timer := time.NewTimer(defaultFetchTimeout)
	defer timer.Stop()
	for {
		left := s.warming()
		if len(left) == 0 {
			return true
		}
		select {
		case <-i.changed:
		case <-timer.C:
			i.logger.Warn("initial fetch timed out", "type", s.name, "warming", left)
			return true
		case <-ctx.Done():
			return false
		}
	}
}
