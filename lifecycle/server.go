// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Defaults of [ServerConfig].
const (
	DefaultShutdownPath = "/graceful_shutdown"
	DefaultStartupPath  = "/graceful_startup"
)

const (
	// answerMargin is what a handler that may wait has beyond its wait to write its answer.
	answerMargin = 5 * time.Second
	// closeTimeout is how long answers under way may take when the server ends.
	closeTimeout = 500 * time.Millisecond
	// lookTimeout is how long the answer to a shutdown request waits for the first count of what is in flight.
	lookTimeout = 100 * time.Millisecond
)

// ServerConfig says where the lifecycle endpoints are and what is behind them.
type ServerConfig struct {
	// Addr is the address to bind, an IP or a name. Empty means 127.0.0.1.
	Addr string
	// Port is the port to bind; 0 takes a free one.
	Port int
	// ShutdownPath and StartupPath are the paths of the two endpoints with configurable names. Empty means the defaults.
	ShutdownPath, StartupPath string
	// StartupGrace is how long the startup endpoint holds its answer at most. 0 answers at once.
	StartupGrace time.Duration

	// Drainer carries out shutdowns.
	Drainer *Drainer
	// Readiness is what /ready tells.
	Readiness *Readiness
	// WaitLive waits until the proxy is LIVE. An error other than the context's means that it will not be.
	WaitLive func(context.Context) error
	// Alive is what /live tells: an error when podplane itself is stuck. nil means always alive.
	Alive func(context.Context) error
	// LogLevel is what /loglevel changes. nil means that there is no such endpoint.
	LogLevel *LogLevel
	// Status are the sections of /status, in the order of the page. Nothing in them may be secret.
	Status []Section
}

// Server serves the lifecycle endpoints.
type Server struct {
	cfg      ServerConfig
	log      hclog.Logger
	listener net.Listener
	http     *http.Server
}

// NewServer checks the configuration and binds the address. A server that is not run must be closed.
func NewServer(cfg ServerConfig, log hclog.Logger) (*Server, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1"
	}
	if cfg.ShutdownPath == "" {
		cfg.ShutdownPath = DefaultShutdownPath
	}
	if cfg.StartupPath == "" {
		cfg.StartupPath = DefaultStartupPath
	}
	if cfg.Drainer == nil || cfg.Readiness == nil || cfg.WaitLive == nil {
		return nil, errors.New("lifecycle: server needs a drainer, a readiness and WaitLive")
	}
	s := &Server{cfg: cfg, log: log}
	handler, err := s.routes()
	if err != nil {
		return nil, err
	}
	s.listener, err = net.Listen("tcp", net.JoinHostPort(cfg.Addr, strconv.Itoa(cfg.Port)))
	if err != nil {
		return nil, fmt.Errorf("bind lifecycle server: %w", err)
	}
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second, // handlers that may wait extend it for themselves
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

// Addr is the bound address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close frees the address of a server that is not going to be run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends, lets answers under way finish for a moment, and returns nil; or the error that ended the
// serving.
func (s *Server) Run(ctx context.Context) error {
	// The requests' contexts end with this one, so that no handler outlives the server for long.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve lifecycle endpoints: %w", err)
	case <-ctx.Done():
	}
	// Handlers that wait for the shutdown or for the proxy end with those, and so tell their clients how it went. What is
	// still there after that moment is cut off.
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer stop()
	if err := s.http.Shutdown(grace); err != nil {
		cancel()
		_ = s.http.Close() // clients that do not read their answer
	}
	<-failed
	return nil
}
