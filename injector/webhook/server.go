// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Path is where reviews are posted to, as the webhook configuration says.
const Path = "/mutate"

// The defaults of [Config].
const (
	// DefaultConcurrency keeps a burst from making the garbage collector's work
	// larger than the burst's own. A decision takes well under a millisecond.
	DefaultConcurrency   = 64
	DefaultShutdownDelay = 5 * time.Second
	// DefaultPatience is short beside the ten seconds that webhook configurations
	// give a review: who is refused has time to ask again.
	DefaultPatience = 2 * time.Second
	// DefaultMemory is ten of the largest bodies, or thousands of usual ones. A
	// review takes several times its body.
	DefaultMemory = 32 << 20
	// DefaultConnections is several times what the API servers of a large cluster
	// open when all that they may do at the same time is making pods.
	DefaultConnections = 4096
)

const (
	// maxBody is what an API server takes as a request, in bytes:
	// https://github.com/kubernetes/apiserver/blob/v0.36.3/pkg/server/config.go, MaxRequestBodyBytes.
	maxBody = 3 << 20
	// trustedLength is how much memory a request gets for having said how long it
	// is, in bytes: many reviews fit. More takes more bytes that are there.
	trustedLength = 8 << 10
	// decisionTimeout bounds one review. Webhook configurations may allow up to 30 s.
	decisionTimeout = 10 * time.Second
	// waitingEach keeps the wait well below the patience where decisions take as
	// long as they should.
	waitingEach = 8
	// idleTimeout is how long a connection may be there without a request. It is longer
	// than the 90 s for which API servers keep one that they do not use, so that none
	// is closed while a review is on its way. They also open some for reviews that then
	// go over others, and keep them as they are: net/http begins to count the time for
	// the headers of a first request when the connection is there.
	idleTimeout = 2 * time.Minute
	// bodyTimeout is how long a body may take, once the headers are there.
	bodyTimeout = 10 * time.Second
	// closeTimeout is how long answers under way may take when the server ends.
	closeTimeout = 5 * time.Second
)

// Config says where to serve and what is behind it.
type Config struct {
	// Addr is the address to bind, as host:port. An empty host is all addresses:
	// API servers connect from elsewhere. Port 0 takes a free one.
	Addr string
	// GetCertificate gives the certificate of each handshake. Required.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Mutate decides. Required.
	Mutate Mutator
	// Concurrency is how many reviews are decided at the same time. 0 is
	// DefaultConcurrency.
	Concurrency int
	// Waiting is how many more may wait for that, each for no longer than Patience,
	// and Memory how many bytes the bodies of all may have. What exceeds one of them
	// is refused, and to be asked again. 0 is waitingEach times Concurrency, and the
	// Default of the same name.
	Waiting  int
	Patience time.Duration
	Memory   int64
	// Connections is how many may be open. For one more, the one without a request
	// for longest is closed. 0 is DefaultConnections.
	Connections int
	// ShutdownDelay is how long the server goes on as before when its context
	// ends: until no API server is sent here any more.
	ShutdownDelay time.Duration
	// Metrics takes the metrics; nil means none.
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.Concurrency <= 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.Waiting <= 0 {
		c.Waiting = waitingEach * c.Concurrency
	}
	if c.Patience <= 0 {
		c.Patience = DefaultPatience
	}
	if c.Memory <= 0 {
		c.Memory = DefaultMemory
	}
	if c.Connections <= 0 {
		c.Connections = DefaultConnections
	}
	return c
}

// Server serves admission reviews. It is made by New, and Run is called once.
type Server struct {
	cfg      Config
	log      hclog.Logger
	metrics  *metrics
	bounds   *bounds
	saidBusy seldom
	saidBad  seldom
	saidMany seldom
	conns    *conns
	draining atomic.Bool // the end was asked for
	listener net.Listener
	http     *http.Server
}

// New checks the configuration and binds the address. A server that is not run
// must be closed.
func New(cfg Config, log hclog.Logger) (*Server, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if cfg.GetCertificate == nil || cfg.Mutate == nil {
		return nil, errors.New("webhook: server needs a certificate and a mutator")
	}
	cfg = cfg.withDefaults()
	b := newBounds(cfg)
	m, err := newMetrics(cfg.Metrics, b)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, metrics: m, bounds: b}
	if s.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("bind webhook server: %w", err)
	}
	s.conns = newConns(cfg.Connections, s.tooMany)
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, s)
	s.http = &http.Server{
		Handler: timed(mux),
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: cfg.GetCertificate,
			// HTTP/1.1 only: it is all that API servers speak to a webhook, and streams on
			// one connection would escape the bounds below.
			NextProtos: []string{"http/1.1"},
		},
		ReadHeaderTimeout: idleTimeout,
		ReadTimeout:       idleTimeout + bodyTimeout,
		WriteTimeout:      2*decisionTimeout + closeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ConnState:         s.conns.note,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

func (s *Server) tooMany() {
	if s.saidMany.due() {
		s.log.Warn("there are too many connections, those without a request for longest are closed", "most", s.cfg.Connections)
	}
}

// timed bounds the time that a body takes, whatever is asked for.
func timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // every connection can
		next.ServeHTTP(w, r)
	})
}

// Addr is the bound address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close frees the address of a server that is not going to be run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx has ended and the shutdown delay is over, finishes what is
// under way, and returns nil; or the error that ended the serving.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.ServeTLS(s.listener, "", "") }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve webhook: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	select {
	case err := <-failed:
		return fmt.Errorf("serve webhook: %w", err)
	case <-time.After(s.cfg.ShutdownDelay):
	}
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer stop()
	if err := s.http.Shutdown(grace); err != nil {
		_ = s.http.Close() // clients that do not read their answer
	}
	<-failed
	return nil
}
