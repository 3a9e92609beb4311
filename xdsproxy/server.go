// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podplane/xdsproxy/downstream"
)

const (
	serviceName = "envoy.service.discovery.v3.AggregatedDiscoveryService"
	deltaMethod = "DeltaAggregatedResources"
	methodName  = "/" + serviceName + "/" + deltaMethod

	// SecretKey is the metadata key under which Envoy sends the secret of the
	// bootstrap, where the listener is a TCP one.
	SecretKey = "x-podplane-secret"
	// tokenKey is where bootstraps from an operator's template send it, because
	// Consul's documentation of the template says so.
	tokenKey = "x-consul-token"

	defaultMaxRefusals  = 5
	defaultMaxStreamAge = time.Hour
)

var streamDesc = grpc.StreamDesc{StreamName: deltaMethod, ServerStreams: true, ClientStreams: true}

// Config says where to listen, who may ask, and where the answers come from.
type Config struct {
	// Addr is where Envoy connects: "" for a private abstract Unix socket,
	// "unix:///path" or "unix://@name" for a Unix socket, else a TCP host:port.
	Addr string
	// PeerPID gives the process ID of the Envoy that may use a Unix socket; 0
	// while there is none. Required for Unix sockets.
	PeerPID func() int
	// Secret must be in the metadata of every stream over TCP. Required there.
	Secret string
	// Upstream opens the streams to the servers. Required.
	Upstream grpc.ClientConnInterface
	// Changed gives a channel that is closed, or that holds a value, when the
	// connection to the servers has changed, so that a new stream need not wait
	// for its backoff. May be nil.
	Changed func() <-chan struct{}
	// Epoch counts the servers and tokens taken into use. A stream that was
	// opened in an earlier one is left for a new one, without waiting for its
	// end. May be nil.
	Epoch func() uint64
	// Leave asks for another server than the one in use, which has not answered on
	// a stream; what comes of it, Epoch tells. May be nil.
	Leave func(reason string)
	// FirstPatience is for how long, and up to as long again by chance, a server may
	// leave a new stream without an answer before it is left. It doubles with each
	// one that does, up to five minutes. Default 5 s.
	FirstPatience time.Duration
	// NoCache turns the last-known-good copy off.
	NoCache bool
	// Store keeps the copy beyond the life of the process; nil keeps it in memory
	// alone.
	Store Store
	// MaxRefusals is after how many refusals in a row Run gives up, if Envoy has
	// never been configured. Default 5.
	MaxRefusals int
	// MaxStreamAge is how long an upstream stream is kept at most, less up to a
	// half of it by chance. A new one costs little, for it resumes; and a stream
	// that only looks alive cannot go on for days. Default an hour.
	MaxStreamAge time.Duration
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.MaxRefusals == 0 {
		c.MaxRefusals = defaultMaxRefusals
	}
	if c.MaxStreamAge == 0 {
		c.MaxStreamAge = defaultMaxStreamAge
	}
	if c.FirstPatience == 0 {
		c.FirstPatience = defaultFirstPatience
	}
	return c
}

func (c Config) changed() <-chan struct{} {
	if c.Changed == nil {
		return nil
	}
	return c.Changed()
}

// age gives the age that one stream may reach.
func (c Config) age() time.Duration {
	return c.MaxStreamAge - rand.N(c.MaxStreamAge/2) //nolint:gosec // no secret depends on it
}

func (c Config) epoch() uint64 {
	if c.Epoch == nil {
		return 0
	}
	return c.Epoch()
}

func (c Config) validate() error {
	isUnix := c.Addr == "" || strings.HasPrefix(c.Addr, unixScheme)
	switch {
	case c.Upstream == nil:
		return errors.New("no upstream to forward to")
	case isUnix && c.PeerPID == nil:
		return errors.New("a unix socket needs the process that may use it")
	case !isUnix && c.Secret == "":
		return errors.New("a tcp address needs a secret")
	}
	return nil
}

// Server is the local ADS server that Envoy connects to.
type Server struct {
	config   Config
	log      hclog.Logger
	listener net.Listener
	metrics  *instruments
	now      func() time.Time
	fatal    chan error    // holds the reason to give up
	changed  chan struct{} // holds a token while the cache waits to be saved
	sessions sync.WaitGroup

	mu      sync.Mutex
	cache   *cache // nil if turned off
	current *session
	gen     uint64 // counts the upstream streams
	// patience is how long the next stream waits for an answer, see awaitAnswer.
	patience time.Duration
	status   Status
}

// New checks the configuration and binds the listener. Errors name the address.
func New(config Config, log hclog.Logger) (*Server, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("xds proxy: %w", err)
	}
	l, err := listen(config.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for xds on %q: %w", config.Addr, err)
	}
	s := &Server{
		config:   config,
		log:      log,
		metrics:  newInstruments(config.Registerer),
		now:      time.Now,
		fatal:    make(chan error, 1),
		changed:  make(chan struct{}, 1),
		patience: config.FirstPatience,
		status:   Status{DisconnectedSince: time.Now()},
	}
	if !config.NoCache {
		s.cache = newCache()
		if config.Store != nil {
			s.load()
		}
	}
	s.listener = l
	if u, ok := l.(*net.UnixListener); ok {
		s.listener = &peerListener{
			UnixListener: u,
			allowed:      config.PeerPID,
			refused:      s.metrics.refused.WithLabelValues("peer").Inc,
			log:          log,
		}
	}
	return s, nil
}

// Addr gives the bound address: a *net.UnixAddr, whose name starts with @ in
// the abstract namespace, or a *net.TCPAddr.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives the listener back if Run was never called.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves Envoy until ctx is done, which is a clean end, or until the
// servers have refused the proxy for good, which is a *RefusedError.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.sessions.Wait()
	defer cancel()
	if s.cache != nil && s.config.Store != nil {
		s.sessions.Go(func() { s.save(ctx) })
	}
	served := make(chan error, 1)
	go func() {
		served <- downstream.Serve(ctx, s.listener, downstream.Config{Method: methodName, Open: s.accept})
	}()
	s.log.Info("serving xds", "address", s.Addr().String())
	select {
	case err := <-s.fatal:
		cancel()
		<-served
		return err
	case err := <-served:
		if err != nil {
			return fmt.Errorf("serve xds: %w", err)
		}
		return nil
	}
}

// accept begins a session for a stream of Envoy's. What works for it ends with the
// stream, and Run joins it.
func (s *Server) accept(stream *downstream.Stream) (downstream.Receive, error) {
	if !s.trusted(stream) {
		s.log.Warn("refused a peer on the xds listener that does not know the secret")
		s.metrics.refused.WithLabelValues("secret").Inc()
		return nil, status.Error(codes.Unauthenticated, "this listener is for the envoy of this dataplane only")
	}
	ss := newSession(s, stream)
	s.open(ss)
	ctx := stream.Context()
	s.sessions.Go(func() { ss.upstreams(ctx) })
	s.sessions.Go(func() {
		defer s.close(ss)
		ss.serveLocal(ctx)
	})
	return ss.receive, nil
}

// open makes a session the current one and ends the one before it.
func (s *Server) open(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.log.Info("envoy opened another xds stream, ending the older one")
		s.current.ledger.close()
		s.current.stream.End(errReplaced)
	}
	s.current = ss
	s.metrics.envoyUp.Set(1)
	s.log.Info("envoy connected")
}

func (s *Server) close(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ss.ledger.close()
	if s.current == ss {
		s.current = nil
		s.metrics.envoyUp.Set(0)
		s.log.Info("envoy disconnected")
	}
}
