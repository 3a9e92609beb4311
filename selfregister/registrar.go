// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// EndTimeout bounds the removal of the registration at the end.
const EndTimeout = 2 * time.Second

// Config is everything that a Registrar needs to know.
type Config struct {
	// Definition is what to register. Required.
	Definition *Definition
	// Node is the name of the catalog node. It is made if there is none. Required.
	Node string
	// Instance marks what is registered, see [Instance]. Required.
	Instance string
	// Namespace and Partition are Enterprise's; empty is the default.
	Namespace, Partition string
	// HTTPPort is that of the servers' HTTP API; 0 is 8501 with TLS, else 8500.
	HTTPPort int
	// Plain speaks plain text even where Server gives a TLS setting.
	Plain bool
	// Server gives the server to talk to; asked before every request. Required.
	Server func() (Server, error)
	// Changes is readable after another server has come into use, or another token.
	Changes <-chan struct{}
	// Redact cuts secrets out of a server's words; nil takes them as they are.
	Redact func(string) string
	// Ready tells whether the proxy can serve, and if not why. Required.
	Ready func() (bool, string)
	// Draining is closed when the end begins: the registration turns critical.
	Draining <-chan struct{}
	// Report, if set, is told how the registration stands: nil when it is as it
	// should be, else why it is not. Before the first nil it is not there.
	Report func(error)
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
}

// tuning holds the times by which a Registrar works. Tests shorten them.
type tuning struct {
	retryFirst, retryLimit time.Duration
	// repeat is how often everything is written anew, a tenth more or less. Agents
	// look about that often, too.
	repeat time.Duration
	// look is how often Ready is asked.
	look time.Duration
	// again is how often a problem that stays is logged.
	again time.Duration
	// hurry bounds a write of the drain, and is the pause before the next one if one before it was cut short.
	hurry time.Duration
}

func defaultTuning() tuning {
	return tuning{
		retryFirst: 250 * time.Millisecond, retryLimit: 10 * time.Second,
		repeat: time.Minute, look: 250 * time.Millisecond, again: 30 * time.Second,
		hurry: time.Second,
	}
}

// Registrar keeps one service and its sidecar proxy in the catalog. It is made
// by New, and Run is called once.
type Registrar struct {
	cfg     Config
	log     hclog.Logger
	tune    tuning
	catalog *catalog
	board   *board
	metrics *instruments

	mu     sync.Mutex
	status Status

	// Used by Run's goroutine alone.
	draining bool
	cut      bool // a server may still act on a write that the drain has cut short
	mayBe    bool // something of ours may be in the catalog
	loopback bool // it was said that others cannot reach the address
	loggedAt time.Time
	logged   string
	delay    time.Duration // before the next attempt; 0 after a success
}

// New checks the configuration; nothing runs until Run.
func New(cfg Config, log hclog.Logger) (*Registrar, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	switch {
	case cfg.Definition == nil:
		return nil, errors.New("self-registration: no service definition")
	case cfg.Node == "":
		return nil, errors.New("self-registration: no node name")
	case cfg.Instance == "":
		return nil, errors.New("self-registration: no mark of the instance")
	case cfg.Server == nil || cfg.Ready == nil:
		return nil, errors.New("self-registration: nobody tells of servers or readiness")
	}
	if cfg.Redact == nil {
		cfg.Redact = func(s string) string { return s }
	}
	if cfg.Report == nil {
		cfg.Report = func(error) {}
	}
	d := cfg.Definition
	r := &Registrar{
		cfg: cfg, log: log, tune: defaultTuning(), board: newBoard(d),
		catalog: &catalog{
			server: cfg.Server, port: cfg.HTTPPort, plain: cfg.Plain, redact: cfg.Redact,
			namespace: cfg.Namespace, partition: cfg.Partition,
		},
		status: Status{Node: cfg.Node, ServiceID: d.ID, ProxyID: d.ProxyID()},
	}
	var err error
	if r.metrics, err = newInstruments(cfg.Registerer, r.board); err != nil {
		return nil, fmt.Errorf("metrics of the self-registration: %w", err)
	}
	return r, nil
}

// Run makes the health checks and keeps the registration true until ctx ends;
// then it removes it, for which it takes [EndTimeout] at most, and returns nil.
// Server must go on giving servers meanwhile.
func (r *Registrar) Run(ctx context.Context) error {
	defer r.catalog.close()
	var probers sync.WaitGroup
	for _, c := range append(append([]Check(nil), r.cfg.Definition.Checks...), r.cfg.Definition.Sidecar.Checks...) {
		probers.Go(func() { newProber(c, r.board.set).run(ctx) })
	}
	defer probers.Wait()
	r.keep(ctx)
	r.end(ctx)
	return nil
}

// keep writes when there is a reason to, until ctx ends.
func (r *Registrar) keep(ctx context.Context) {
	look := time.NewTicker(r.tune.look)
	defer look.Stop()
	next := time.NewTimer(0) // of the next write without another reason
	defer next.Stop()
	draining := r.cfg.Draining
	write := func(whole bool) {
		r.write(ctx, whole)
		switch {
		case r.delay > 0:
			next.Reset(jitter(r.delay, 0.5))
		case r.cut:
			next.Reset(r.tune.hurry)
		default:
			next.Reset(jitter(r.tune.repeat, 0.1))
		}
	}
	r.lookAtReadiness()
	for {
		select {
		case <-ctx.Done():
			return
		case <-draining:
			draining, r.draining, r.delay = nil, true, 0
			r.lookAtReadiness()
			if r.mayBe { // critical may be what it is already, and not be written
				poke(r.board.changed)
			}
		case <-look.C:
			r.lookAtReadiness()
		case <-r.board.changed:
			// While servers are away, changes wait with the rest; but a drain does not.
			if r.delay == 0 || r.draining {
				write(false)
			}
		case <-r.cfg.Changes:
			r.delay = 0
			write(true)
		case <-next.C:
			write(true)
		}
	}
}

func (r *Registrar) lookAtReadiness() {
	if r.draining {
		r.board.ready(false, "podplane is shutting down")
		return
	}
	r.board.ready(r.cfg.Ready())
}

// write brings the catalog in line: the whole of it, or only the checks, and
// tells everybody how that went.
func (r *Registrar) write(ctx context.Context, whole bool) {
	if !r.draining && r.drainBegun() {
		return // that is to be written first
	}
	attempt, stop := r.attempt(ctx)
	err := r.sync(attempt, whole || !r.Status().Registered)
	stop()
	if err != nil && ctx.Err() != nil {
		return
	}
	if err != nil && !r.draining && r.drainBegun() {
		r.cut = true
		return
	}
	r.note(err)
	switch {
	case err == nil:
		r.delay = 0
		r.cfg.Report(nil)
		return
	case r.delay == 0:
		r.delay = r.tune.retryFirst
	default:
		r.delay = min(2*r.delay, r.tune.retryLimit)
	}
	if !r.Status().Registered || isRefusal(err) || errors.Is(err, errAgentsNode) {
		// Otherwise the servers are away, and what is registered there still is.
		r.cfg.Report(err)
	}
}

// attempt is the context of one write. The drain's word that the proxy is critical
// is not to wait for a server that hangs: it cuts short the write before it, and is
// tried again soon, for there may be another server by then. stop must be called.
func (r *Registrar) attempt(ctx context.Context) (_ context.Context, stop func()) {
	if r.draining {
		return context.WithTimeout(ctx, r.tune.hurry)
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-r.cfg.Draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-watched
	}
}

func (r *Registrar) drainBegun() bool {
	select {
	case <-r.cfg.Draining:
		return true
	default:
		return false
	}
}

// note keeps what happened for the status, the metrics and the log.
func (r *Registrar) note(err error) {
	now := time.Now()
	r.metrics.wrote(err)
	r.mu.Lock()
	was := r.status.Registered
	if err == nil {
		r.status.Registered, r.status.LastWriteAt = true, now
		if !was {
			r.status.Since = now
		}
	} else {
		r.status.LastError, r.status.LastErrorAt = err.Error(), now
		if isRefusal(err) {
			r.status.Registered = false
		}
	}
	r.mu.Unlock()
	var noServer *noServerError
	switch {
	case errors.As(err, &noServer):
		r.log.Debug("waiting to register the service", "error", err)
	case err == nil && (!was || r.logged != ""):
		r.logged = ""
		r.log.Info("registered", "node", r.cfg.Node, "service_id", r.cfg.Definition.ID, "proxy_id", r.cfg.Definition.ProxyID())
	case err != nil && (r.logged != err.Error() || now.Sub(r.loggedAt) >= r.tune.again):
		r.logged, r.loggedAt = err.Error(), now
		r.log.Warn("cannot register the service, trying again", "error", err)
	}
}

// jitter gives d, more or less by a part of it at random, so that the machines of
// a mesh do not write all at once.
func jitter(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 - part + 2*part*rand.Float64())) //nolint:gosec // no secret depends on it
}
