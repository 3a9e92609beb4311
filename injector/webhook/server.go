// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
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
)

const (
	// maxBody is what an API server takes as a request, in bytes:
	// https://github.com/kubernetes/apiserver/blob/v0.36.3/pkg/server/config.go, MaxRequestBodyBytes.
	maxBody = 3 << 20
	// trustedLength is how much memory a request gets for having said how long it
	// is, in bytes: most reviews fit. More takes more bytes that are there.
	trustedLength = 64 << 10
	// decisionTimeout bounds one review. Webhook configurations may allow up to 30 s.
	decisionTimeout = 10 * time.Second
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
	// Concurrency is how many reviews are decided at the same time; more wait. 0
	// is DefaultConcurrency.
	Concurrency int
	// ShutdownDelay is how long the server goes on as before when its context
	// ends: until no API server is sent here any more.
	ShutdownDelay time.Duration
	// Metrics takes the metrics; nil means none.
	Metrics prometheus.Registerer
}

// Server serves admission reviews. It is made by New, and Run is called once.
type Server struct {
	cfg      Config
	log      hclog.Logger
	metrics  *metrics
	slots    chan struct{}
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
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, metrics: m, slots: make(chan struct{}, cfg.Concurrency)}
	if s.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("bind webhook server: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, s)
	s.http = &http.Server{
		Handler: mux,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: cfg.GetCertificate,
			// HTTP/1.1 only: API servers keep connections open, and streams on one
			// connection would escape the bounds below.
			NextProtos: []string{"http/1.1"},
		},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2*decisionTimeout + closeTimeout,
		// Longer than the 90 s for which API servers keep idle connections, so that
		// none is closed while a request is on its way.
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
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
