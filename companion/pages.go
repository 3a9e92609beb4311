// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// pagesTimeout is how long answers under way may take at the end.
const pagesTimeout = time.Second

// pages is a small HTTP server: probes, or metrics.
type pages struct {
	what     string
	listener net.Listener
	http     *http.Server
}

// newPages binds the address.
func newPages(what, addr string, handler http.Handler, log hclog.Logger) (*pages, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("bind %s server: %w", what, err)
	}
	return &pages{what: what, listener: listener, http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}}, nil
}

// Close frees the address of a server that is not going to be run.
func (p *pages) Close() error { return p.listener.Close() }

// run serves until end is closed.
func (p *pages) run(ctx context.Context, end <-chan struct{}) error {
	failed := make(chan error, 1)
	go func() { failed <- p.http.Serve(p.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", p.what, err)
	case <-end:
	}
	grace, stop := context.WithTimeout(ctx, pagesTimeout)
	defer stop()
	if err := p.http.Shutdown(grace); err != nil {
		_ = p.http.Close()
	}
	<-failed
	return nil
}
