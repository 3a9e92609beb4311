// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of [DrainConfig].
const (
	DefaultStopTimeout = 1900 * time.Millisecond
	DefaultPoll        = 50 * time.Millisecond

	// nowTimeout is how gently an immediate end is tried before the proxy is killed.
	nowTimeout = 250 * time.Millisecond
	// probeTimeout bounds one look at the proxy, so that one that hangs does not hide the deadline.
	probeTimeout = 500 * time.Millisecond
	// exitMargin is what podplane needs after the proxy's end to log out and exit, before the kubelet loses patience.
	exitMargin = time.Second
)

// DrainConfig says how a shutdown goes.
type DrainConfig struct {
	// Proxy is what is shut down.
	Proxy Proxy
	// Grace is how long a shutdown waits at most before it ends the proxy. 0 ends it at once.
	Grace time.Duration
	// DrainInbound makes the proxy drain inbound traffic during the grace period: clients are asked to leave at once, and
	// refused from a later moment on, see DrainTime.
	DrainInbound bool
	// DrainTime is for how long new inbound connections are still taken, while the rest of the mesh learns that the pod
	// is going away; a quarter of the grace period if that is shorter.
	DrainTime time.Duration
	// WhenIdle is as described there. Empty means auto.
	WhenIdle WhenIdle
	// TerminationGrace is the pod's terminationGracePeriodSeconds, 0 when unknown. The grace period is shortened so that
	// everything ends within it.
	TerminationGrace time.Duration
	// StopTimeout bounds the proxy's end. 0 means [DefaultStopTimeout].
	StopTimeout time.Duration
	// Poll is the pause between two looks at what is in flight. 0 means [DefaultPoll].
	Poll time.Duration
	// Dump, if set, is called when a shutdown begins and is finished or cancelled before the proxy is ended.
	Dump func(context.Context) error
	// Readiness, if set, is told when a shutdown begins.
	Readiness *Readiness
	// Registerer takes the collectors podplane_lifecycle_…; nil leaves them unregistered.
	Registerer prometheus.Registerer
}

// Drainer is the shutdown of the proxy: one state machine, whoever asks. [Drainer.Run] is called once; everything else
// may be called at any time, from any goroutine.
type Drainer struct {
	cfg     DrainConfig
	log     hclog.Logger
	metrics *drainMetrics

	asked  chan struct{} // closed at the first request
	hurry  chan struct{} // closed when the end is wanted now
	looked chan struct{} // closed at the first count of what is in flight, or when there is no more counting
	done   chan struct{} // closed when Run has returned

	mu        sync.Mutex
	now       Shutdown
	hurried   bool
	lookedYet bool
	signals   int
	onHTTP    bool // the application has asked
}

// NewDrainer checks the configuration, fits the grace period into the pod's, and registers the collectors.
func NewDrainer(cfg DrainConfig, log hclog.Logger) (*Drainer, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if cfg.Proxy == nil {
		return nil, errors.New("lifecycle: no proxy to shut down")
	}
	switch cfg.WhenIdle {
	case "":
		cfg.WhenIdle = IdleAuto
	case IdleAuto, IdleAlways, IdleNever:
	default:
		return nil, fmt.Errorf("lifecycle: when-idle is %q, not auto, always or never", cfg.WhenIdle)
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = DefaultStopTimeout
	}
	if cfg.Poll == 0 {
		cfg.Poll = DefaultPoll
	}
	cfg = cfg.fitted(log)
	metrics, err := newDrainMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Drainer{
		cfg:     cfg,
		log:     log,
		metrics: metrics,
		asked:   make(chan struct{}),
		hurry:   make(chan struct{}),
		looked:  make(chan struct{}),
		done:    make(chan struct{}),
		now:     Shutdown{State: Running},
	}, nil
}

// fitted shortens what does not fit into the pod's termination grace period, at whose end the kubelet sends SIGKILL:
// the grace period, so that time is left for the proxy's end and podplane's own, and if there is none without a grace
// period either, the proxy's end.
func (c DrainConfig) fitted(log hclog.Logger) DrainConfig {
	if c.TerminationGrace <= 0 {
		return c
	}
	left := max(0, c.TerminationGrace-exitMargin)
	if stop := max(nowTimeout, left); stop < c.StopTimeout {
		log.Warn("the end of the proxy does not fit into the pod's termination grace period, its time is shortened",
			"stop_timeout", c.StopTimeout, "shortened_to", stop, "termination_grace", c.TerminationGrace)
		c.StopTimeout = stop
	}
	if grace := max(0, left-c.StopTimeout); grace < c.Grace {
		log.Warn("shutdown grace period does not fit into the pod's termination grace period, it is shortened",
			"grace", c.Grace, "shortened_to", grace, "termination_grace", c.TerminationGrace)
		c.Grace = grace
	}
	return c
}

// refuseAfter is when a drain turns from asking inbound clients to leave to refusing them. The rest of the grace period is
// for what they have in flight.
func (d *Drainer) refuseAfter() time.Duration { return min(d.cfg.DrainTime, d.cfg.Grace/4) }

// Grace is the grace period after it has been fitted into the pod's.
func (d *Drainer) Grace() time.Duration { return d.cfg.Grace }

// Limit is how long a shutdown can take at most.
func (d *Drainer) Limit() time.Duration { return d.cfg.Grace + d.cfg.StopTimeout }

// Shutdown asks for the end and returns at once with the state of the shutdown, the one that this request began or the
// one that it joined.
func (d *Drainer) Shutdown(r Request) Shutdown {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now.State == Running {
		begun := time.Now()
		d.now.State, d.now.Reason = Draining, r.Reason()
		d.now.Since, d.now.Deadline = begun, begun.Add(d.cfg.Grace)
		d.log.Info("shutdown begins", "reason", d.now.Reason, "grace", d.cfg.Grace, "when_idle", d.cfg.WhenIdle)
		if d.cfg.Readiness != nil {
			d.cfg.Readiness.Terminate(d.now.Reason)
		}
		d.metrics.begin(r.By)
		close(d.asked)
	}
	d.onHTTP = d.onHTTP || r.By == ByHTTP
	d.now.WhenIdle = d.endsWhenIdle()
	if r.Now && !d.hurried {
		d.hurried = true
		d.log.Info("shutdown is hastened", "reason", r.Reason())
		close(d.hurry)
	}
	return d.snapshot()
}

// endsWhenIdle tells whether idleness ends the shutdown. The caller holds mu.
func (d *Drainer) endsWhenIdle() bool {
	return d.cfg.WhenIdle == IdleAlways || (d.cfg.WhenIdle == IdleAuto && d.onHTTP)
}

// Signals turns signals into requests until ctx ends or the channel is closed: the first begins a shutdown or joins the
// one under way, any further one means now. It returns nil.
func (d *Drainer) Signals(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case sig, ok := <-signals:
			if !ok {
				return nil
			}
			d.mu.Lock()
			d.signals++
			again := d.signals > 1
			d.mu.Unlock()
			d.Shutdown(Request{By: BySignal, Detail: sig.String(), Now: again})
		}
	}
}

// State is a snapshot of the shutdown.
func (d *Drainer) State() Shutdown {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.snapshot()
}

// snapshot copies the state. The caller holds mu.
func (d *Drainer) snapshot() Shutdown {
	s := d.now
	if s.ActiveConnections != nil {
		n := *s.ActiveConnections
		s.ActiveConnections = &n
	}
	return s
}

// Asked is closed when a shutdown has begun.
func (d *Drainer) Asked() <-chan struct{} { return d.asked }

// Done is closed when Run has returned: the proxy is gone, or Run's context has ended.
func (d *Drainer) Done() <-chan struct{} { return d.done }

// Looked is closed when it is known for the first time in a shutdown what is in flight, or that it will not be.
func (d *Drainer) Looked() <-chan struct{} { return d.looked }
