// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"podplane/integration/standin/admin"
	"podplane/integration/standin/ads"
	"podplane/integration/standin/cli"
	"podplane/integration/standin/server/spdlog"
	"podplane/integration/standin/stats"
	"podplane/integration/standin/traffic"
)

// Config is what a server is made of.
type Config struct {
	Options   cli.Options
	Bootstrap *bootstrapv3.Bootstrap
	Logs      *spdlog.Logs
}

// Server is one stand-in process. Make it with [New], then [Server.Run] it once.
type Server struct {
	cfg     Config
	logger  hclog.Logger
	started time.Time
	node    *corev3.Node

	store  *stats.Store
	engine *traffic.Engine
	admin  *admin.Server              // nil if the bootstrap has no admin
	ads    atomic.Pointer[ads.Client] // nil if nothing is dynamic
	init   *initialiser
	state  *state
	gauges *gauges

	clusters, endpoints, listeners, routes *inventory
	secrets                                *inventory

	changed  chan struct{} // warming, or names to subscribe, may have changed
	quit     chan struct{} // closed by Quit
	quitOnce sync.Once

	restart net.Listener // the hot restart socket that reserves the base ID
	files   []io.Closer  // access logs
}

// New validates the bootstrap as far as that needs the data path, and binds the
// admin endpoint and the static listeners. The caller must Run or Close it.
func New(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{
		cfg: cfg, logger: cfg.Logs.Logger("main"), started: time.Now(), state: newState(),
		node:     node(cfg.Bootstrap, cfg.Options),
		clusters: newInventory(), endpoints: newInventory(), listeners: newInventory(), routes: newInventory(), secrets: newInventory(),
		changed: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	if err := s.build(); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

// build does New's work; what it has made when it fails, Close undoes.
func (s *Server) build() (err error) {
	if s.store, err = stats.New(s.cfg.Bootstrap.GetStatsConfig()); err != nil {
		return err
	}
	s.engine = traffic.New(traffic.Config{
		Logger: s.cfg.Logs.Logger("connection"), Stats: s.store,
		DrainTime: s.cfg.Options.DrainTime, DrainStrategy: s.cfg.Options.DrainStrategy,
		Concurrency: int(s.cfg.Options.Concurrency), OnChange: s.notify,
	})
	s.gauges = newGauges(s)
	if err := s.reserveBaseID(); err != nil {
		return err
	}
	if s.admin, err = s.newAdmin(); err != nil {
		return err
	}
	if err := loadStatic(s.cfg.Bootstrap.GetStaticResources(), s.loader()); err != nil {
		return err
	}
	s.warnAboutIgnored()
	return s.buildDynamic()
}

// reserveBaseID does what hot restart does first: two processes on one host
// need different base IDs.
func (s *Server) reserveBaseID() (err error) {
	o := s.cfg.Options
	if o.DisableHotRestart || o.UseDynamicBaseID {
		return nil
	}
	name := fmt.Sprintf("%s_parent_%d", o.SocketPath, o.BaseID+uint64(o.RestartEpoch))
	if s.restart, err = net.Listen("unix", name); err != nil {
		return fmt.Errorf("unable to bind domain socket with base_id=%d, id=%d, errno=98 (see --base-id option)",
			o.BaseID, o.RestartEpoch)
	}
	return nil
}

// AdminAddr is where the admin endpoint listens, or nil without one.
func (s *Server) AdminAddr() net.Addr {
	if s.admin == nil {
		return nil
	}
	return s.admin.Addr()
}

// Run serves until ctx ends or /quitquitquit is called, and closes everything.
// The error is nil after either.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if s.admin != nil {
		group.Go(func() error { return s.admin.Run(ctx) })
	}
	if client := s.ads.Load(); client != nil {
		group.Go(func() error { return client.Run(ctx) })
	}
	group.Go(func() error { return s.init.run(ctx) })
	group.Go(func() error {
		select {
		case <-s.quit:
		case <-ctx.Done():
		}
		s.logger.Info("shutting down server instance")
		cancel()
		return nil
	})
	s.logger.Info("starting main dispatch loop")
	err := group.Wait()
	s.logger.Info("main dispatch loop exited")
	return errors.Join(err, s.Close(ctx))
}

// Quit makes Run return; it may be called often.
func (s *Server) Quit() { s.quitOnce.Do(func() { close(s.quit) }) }

// Close frees what New has bound, also when ctx has ended. Run does it by itself.
func (s *Server) Close(ctx context.Context) error {
	var errs []error
	if s.engine != nil {
		closeEngine(ctx, s.engine, s.logger)
	}
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	if s.restart != nil {
		errs = append(errs, s.restart.Close())
		s.restart = nil
	}
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}

// notify is called by the data path when warming or wanted names change.
func (s *Server) notify() {
	select {
	case s.changed <- struct{}{}:
	default: // one is pending already
	}
	if client := s.ads.Load(); client != nil {
		client.Refresh()
	}
}
