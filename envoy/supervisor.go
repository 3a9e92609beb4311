// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ErrStopped is why waiting for an Envoy ends that is not going to come.
var ErrStopped = errors.New("envoy is stopped")

// Supervisor runs one Envoy and restarts it when it crashes. [Supervisor.Run] is called once; everything else may be
// called at any time, from any goroutine.
type Supervisor struct {
	cfg     Config
	path    string
	args    []string
	log     hclog.Logger
	oom     oomCounter
	metrics *supervisorMetrics
	budget  *restartBudget
	early   earlyExits

	stopping chan struct{} // closed when somebody asked for the end
	done     chan struct{} // closed when Run has returned

	mu      sync.Mutex
	ran     bool
	stopped bool // stopping is closed
	changed chan struct{}
	status  Status
	proc    *process // nil while none runs
}

// New checks the configuration, looks the executable up and registers the collectors. It starts nothing.
func New(cfg Config, log hclog.Logger) (*Supervisor, error) {
	cfg = cfg.withDefaults()
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if cfg.MaxRestarts < 0 {
		return nil, fmt.Errorf("envoy: MaxRestarts is %d, less than 0", cfg.MaxRestarts)
	}
	path, err := lookPath(cfg.Path)
	if err != nil {
		return nil, err
	}
	args, err := cfg.buildArgs()
	if err != nil {
		return nil, err
	}
	metrics, err := newSupervisorMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Supervisor{
		cfg:      cfg,
		path:     path,
		args:     append([]string{"--config-path", fmt.Sprintf("/dev/fd/%d", bootstrapFD)}, args...),
		log:      log,
		oom:      newOOMCounter(),
		metrics:  metrics,
		budget:   newRestartBudget(cfg.MaxRestarts, cfg.RestartWindow, cfg.MaxBackoff),
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
		changed:  make(chan struct{}),
		status:   Status{State: StateIdle, Since: time.Now()},
	}, nil
}

// Run starts Envoy and keeps it running until the end is asked for, by [Supervisor.Stop], [Supervisor.Kill] or the end
// of ctx; then it returns nil once Envoy is gone. bootstrap gives the configuration for each start.
//
// It returns an [*ExitError] when Envoy crashes and the restarts are used up, and other errors when the bootstrap cannot
// be had, when a start does not succeed, the first one or the last one that the restarts allow, or when Envoy survives
// SIGKILL. In all other cases no Envoy runs when it has returned.
func (s *Supervisor) Run(ctx context.Context, bootstrap func(context.Context) ([]byte, error)) error {
	s.mu.Lock()
	again := s.ran
	s.ran = true
	s.mu.Unlock()
	if again {
		return errors.New("envoy supervisor: Run was called twice")
	}
	defer s.finish()
	for {
		exit, err := s.runOnce(ctx, bootstrap)
		if err != nil || exit == nil {
			return err
		}
		now := time.Now()
		exit.Restarts = s.budget.recent(now)
		s.crashed(exit.ExitError)
		wait, ok := s.budget.next(now, exit.reachedLive)
		if s.early.hopeless(exit) {
			s.log.Error("envoy never gets live and always exits in the same way, it is not restarted", "cause", exit.Cause())
			ok = false
		}
		if !ok {
			return exit.ExitError
		}
		s.log.Error("envoy crashed, restarting it", "cause", exit.Cause(), "uptime", exit.Uptime.Round(time.Millisecond),
			"restart_in", wait.Round(time.Millisecond))
		if !s.pause(ctx, wait) {
			return nil
		}
		s.restarting()
	}
}

// crash is an exit that nobody asked for, with what decides about the pause before the restart.
type crash struct {
	*ExitError
	reachedLive bool
}

// runOnce runs one Envoy to its end. Both results are nil when the end was asked for.
func (s *Supervisor) runOnce(ctx context.Context, bootstrap func(context.Context) ([]byte, error)) (*crash, error) {
	if ctx.Err() != nil || s.isStopping() {
		return nil, nil
	}
	content, err := bootstrap(ctx)
	if err != nil {
		if ctx.Err() != nil || s.isStopping() {
			return nil, nil
		}
		return nil, fmt.Errorf("get bootstrap for envoy: %w", err)
	}
	oomBefore := s.oom.kills()
	proc, err := s.startAgain(ctx, content)
	if err != nil || proc == nil {
		return nil, err
	}

	live := make(chan bool, 1)
	watchCtx, stopWatch := context.WithCancel(ctx)
	go func() { live <- s.watchLive(watchCtx, proc) }()
	err = s.awaitExit(ctx, proc)
	stopWatch()
	reachedLive := <-live
	if err != nil {
		return nil, err
	}
	s.gone()

	if s.isStopping() {
		s.log.Info("envoy has ended", "cause", proc.exit.Cause())
		return nil, nil
	}
	exit := proc.exit
	exit.OOM = exit.Signal == killSignal && s.oom.kills() > oomBefore
	return &crash{ExitError: exit, reachedLive: reachedLive}, nil
}

// crashed records a crash.
func (s *Supervisor) crashed(exit *ExitError) {
	s.metrics.exited(exit, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.LastExit, s.status.LastExitAt = exit.Error(), time.Now()
}

// restarting records a restart.
func (s *Supervisor) restarting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Restarts++
	s.metrics.restarts.Inc()
}

// gone records that no Envoy runs. PID and state change together: nobody may see one that is live and has no process.
func (s *Supervisor) gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc, s.status.PID = nil, 0
	s.metrics.up.Set(0)
	if !s.stopped {
		s.setState(StateBackoff)
	}
}

// finish records the end of Run.
func (s *Supervisor) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setState(StateStopped)
	close(s.done)
}

// pause waits for d before a restart. It tells whether the end was not asked for meanwhile.
func (s *Supervisor) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.stopping:
	}
	return false
}
