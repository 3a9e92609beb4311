// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/hashicorp/go-hclog"

	"podplane/integration/standin/stats"
	"podplane/integration/standin/traffic"
)

// Process is the part of the server that the endpoint shows and commands.
type Process interface {
	Info() *adminv3.ServerInfo
	// Dump gives the configuration in force, endpoints only if asked for.
	// Private keys in it are still readable: the endpoint redacts them.
	Dump(endpoints bool) (*adminv3.ConfigDump, error)
	FailHealthcheck(fail bool)
	Quit()
}

// Traffic is the part of the data path that the endpoint shows and commands.
type Traffic interface {
	Clusters() []traffic.ClusterStatus
	Listeners() []traffic.ListenerStatus
	Certs() []traffic.CertStatus
	DrainListeners(inboundOnly, graceful bool)
	DrainClients(inboundOnly bool)
}

// Logs are the loggers' levels.
type Logs interface {
	Levels() map[string]string
	SetAll(level string) error
	Set(levels map[string]string) error
}

// Config is what the endpoint needs. Address, Process, Traffic, Logs and Stats
// are required.
type Config struct {
	Address *corev3.Address
	Process Process
	Traffic Traffic
	Logs    Logs
	Stats   *stats.Store

	Logger    hclog.Logger // nil: no log
	AccessLog io.Writer    // nil: none
	// ViaAPI tells whether a cluster came from the control plane.
	ViaAPI func(cluster string) bool
	// Refresh, if set, brings gauges up to date before statistics are shown.
	Refresh func()
}

// Server is the bound endpoint.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	routes   []route
	counters counters
}

// New binds the address; connections are taken from now on and answered by Run.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Refresh == nil {
		cfg.Refresh = func() {}
	}
	if cfg.ViaAPI == nil {
		cfg.ViaAPI = func(string) bool { return false }
	}
	listener, err := bind(cfg.Address)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, listener: listener, counters: newCounters(cfg.Stats)}
	s.routes = s.table()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler: s, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second,
		ConnState: s.counters.connection,
		ErrorLog:  cfg.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	cfg.Logger.Info("admin address", "address", listener.Addr().String())
	return s, nil
}

// bind listens as Envoy does and reports a taken port in its words.
func bind(a *corev3.Address) (net.Listener, error) {
	network, address := "unix", a.GetPipe().GetPath()
	if socket := a.GetSocketAddress(); socket != nil {
		network, address = "tcp", net.JoinHostPort(socket.GetAddress(), strconv.Itoa(int(socket.GetPortValue())))
	}
	listener, err := net.Listen(network, address)
	if err == nil {
		return listener, nil
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return nil, fmt.Errorf("cannot bind '%s': %w", address, errno)
	}
	return nil, fmt.Errorf("cannot bind '%s': %w", address, err)
}

// Addr is the bound address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// lastAnswers bounds how long an answer under way may hold up the end: that of
// /quitquitquit must still reach its caller.
const lastAnswers = 100 * time.Millisecond

// Run serves until ctx ends. The error is nil then.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
		defer cancel()
		if s.http.Shutdown(last) != nil {
			err = s.http.Close()
		}
		<-served
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin: %w", err)
	}
	return nil
}

// Close frees the address, also if Run was never called.
func (s *Server) Close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
