// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"podplane/metrics/exposition"
)

// Server serves the merged exposition. New binds it, Run serves it.
type Server struct {
	cfg      Config
	log      hclog.Logger
	listener net.Listener
	http     *http.Server
	client   *http.Client
	sources  []*httpSource
	metrics  *scrapeMetrics
	slots    chan struct{} // one for each scrape that holds memory
	pool     exposition.Pool
	trim     *time.Timer // releases the pool when nobody has scraped for keepMemory

	mu     sync.Mutex
	status map[string]SourceStatus // by source, without name and URL
	warned map[exposition.Rename]struct{}
}

// New validates cfg and binds cfg.Addr, so that a port that is taken is found
// before anything starts. A nil logger is silent. A Server that is not Run must
// be Closed.
func New(cfg Config, log hclog.Logger) (*Server, error) {
	cfg = cfg.withDefaults()
	if log == nil {
		log = hclog.NewNullLogger()
	}
	sources, err := cfg.sources()
	if err != nil {
		return nil, fmt.Errorf("configure merged metrics: %w", err)
	}
	m, err := newScrapeMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("register scrape metrics: %w", err)
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("bind merged metrics: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		log:      log,
		listener: l,
		client:   newClient(cfg.MaxInFlight),
		sources:  sources,
		metrics:  m,
		slots:    make(chan struct{}, cfg.MaxInFlight),
		status:   make(map[string]SourceStatus),
		warned:   make(map[exposition.Rename]struct{}),
	}
	s.trim = time.AfterFunc(keepMemory, s.pool.Release)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, s.serve)
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

// sources returns the endpoints to be scraped, in the order of their rank.
func (c Config) sources() ([]*httpSource, error) {
	var list []*httpSource
	if c.EnvoyURL != "" {
		u, err := checkURL("URL of Envoy's statistics", c.EnvoyURL)
		if err != nil {
			return nil, err
		}
		list = append(list, &httpSource{name: "envoy", url: u, passQuery: true})
	}
	for i, raw := range c.ApplicationURLs {
		u, err := checkURL("URL of the application's metrics", raw)
		if err != nil {
			return nil, err
		}
		name := "application"
		if i > 0 {
			name += "_" + strconv.Itoa(i+1)
		}
		list = append(list, &httpSource{name: name, url: u})
	}
	return list, nil
}

// newClient returns a client for neighbours: no proxy, no compression.
func newClient(perHost int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		DisableCompression:  true,
		MaxIdleConnsPerHost: perHost,
		IdleConnTimeout:     2 * time.Minute,
		ReadBufferSize:      64 << 10,
	}}
}

// Addr returns the address that is bound.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Registerer takes the collectors of other components.
func (s *Server) Registerer() prometheus.Registerer { return s.cfg.Registry }

// Close gives up the address of a Server that will not Run.
func (s *Server) Close() error {
	s.trim.Stop()
	return s.listener.Close()
}

// keepMemory is how long the memory of a scrape is kept for the next one: a bit
// more than Prometheus's default interval of a minute.
const keepMemory = 90 * time.Second

// stopGrace is how long the scrapes under way, which are canceled, have to end.
const stopGrace = time.Second

// Run serves until ctx ends, and then returns nil, or until serving fails. The
// scrapes under way when ctx ends are cut off.
func (s *Server) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	defer s.pool.Release()
	defer s.trim.Stop()
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve merged metrics: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		s.log.Debug("scrapes cut off", "error", err)
		_ = s.http.Close()
	}
	for range cap(s.slots) {
		s.slots <- struct{}{} // Whoever holds one is about to end.
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve merged metrics: %w", err)
	}
	return nil
}
