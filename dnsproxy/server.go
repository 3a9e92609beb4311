// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// drainTimeout is how long queries under way may take when Run ends; what
	// is left then gets SERVFAIL.
	drainTimeout = 300 * time.Millisecond
	// sendTimeout is how long sending those last answers may take.
	sendTimeout = 200 * time.Millisecond
)

// errStopping is the cause of the end of queries when Run ends.
var errStopping = errors.New("the dns proxy stops")

// Server is the DNS server of the pod.
type Server struct {
	config   Config
	log      hclog.Logger
	metrics  *instruments
	tcp      *net.TCPListener
	udp      *udpSocket
	upstream upstream
	lane     func(*query) *lane
	cache    *cache // nil if turned off
	flights  flights
	slots    chan struct{}  // holds one value for each query under way
	tasks    sync.WaitGroup // those queries, flights, and connections
	conns    connSet
	writeBad atomic.Bool // the last packet could not be sent
}

// New checks the configuration and binds both sockets. Errors name the address
// or what is wrong with the recursors.
func New(config Config, log hclog.Logger) (*Server, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("dns proxy: %w", err)
	}
	tcp, udp, err := bind(config.Addr)
	if err != nil {
		return nil, err
	}
	self := tcp.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	addrs, err := expand(config.Recursors, config.ResolvConf, self)
	if err != nil {
		return nil, fmt.Errorf("dns proxy: %w", errors.Join(err, tcp.Close(), udp.Close()))
	}
	s := &Server{
		config:  config,
		log:     log,
		tcp:     tcp,
		udp:     udp,
		cache:   newCache(config.CacheSize, config.Stale),
		flights: flights{byKey: map[string]*flight{}},
		slots:   make(chan struct{}, config.MaxInFlight),
		conns:   connSet{open: map[*conn]struct{}{}},
	}
	s.metrics = newInstruments(config.Registerer, s.cache.len)
	route := &router{
		consul: newConsul(config, log), domain: config.Domain, metrics: s.metrics,
		inside: lane{most: maxCalls}, outside: lane{most: maxOutside},
	}
	if len(addrs) > 0 {
		route.recursors = newRecursors(addrs, config.Timeout)
		log.Info("names outside the consul domain go to recursors", "domain", config.Domain, "recursors", addrs)
	}
	s.upstream, s.lane = route, route.lane
	return s, nil
}

// UDPAddr gives the bound address for UDP.
func (s *Server) UDPAddr() net.Addr { return s.udp.LocalAddr() }

// TCPAddr gives the bound address for TCP. Its port is that of UDPAddr.
func (s *Server) TCPAddr() net.Addr { return s.tcp.Addr() }

// Close gives the sockets back if Run was never called.
func (s *Server) Close() error { return errors.Join(s.tcp.Close(), s.udp.Close()) }

// Run serves until ctx is done, which is a clean end, or until a socket fails
// for good. Queries under way have a moment to be answered.
func (s *Server) Run(ctx context.Context) error {
	// Queries outlive ctx for that moment.
	queries, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 2)
	go func() { failed <- s.acceptTCP(reading, queries) }()
	go func() { failed <- s.readUDP(reading, queries) }()
	s.log.Info("serving dns", "address", s.tcp.Addr().String())
	var err error
	running := 2
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
	}
	stop()
	_ = s.tcp.Close()
	s.udp.stopReading()
	for range running {
		err = errors.Join(err, <-failed)
	}
	s.conns.stopReading()
	idle := make(chan struct{})
	go func() { s.tasks.Wait(); close(idle) }()
	if !within(drainTimeout, idle) {
		cancel(errStopping)
		within(sendTimeout, idle)
	}
	s.conns.close()
	_ = s.udp.Close()
	<-idle
	return err
}

// within tells whether done is closed before the time is over.
func within(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
