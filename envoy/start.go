// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"os"
	"os/exec"
	"time"
)

// startAgain is start that does not give up at the first failure, once an Envoy has been started here. The executable is
// known to be good then, and what fails is the machine, which has no process, memory or descriptor to spare and will have
// one again: it costs a restart, as an Envoy does that crashes at once.
func (s *Supervisor) startAgain(ctx context.Context, bootstrap []byte) (*process, error) {
	for {
		proc, err := s.start(bootstrap)
		if err == nil || !s.startedBefore() {
			return proc, err
		}
		wait, ok := s.budget.next(time.Now(), false)
		if !ok {
			return nil, err
		}
		s.log.Error("envoy cannot be started, trying again", "error", err, "restart_in", wait.Round(time.Millisecond))
		if !s.pause(ctx, wait) {
			return nil, nil
		}
		s.restarting()
	}
}

// startedBefore tells whether an Envoy has been started.
func (s *Supervisor) startedBefore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.status.Started.IsZero()
}

// start starts Envoy, unless the end was asked for meanwhile: then the process is nil.
func (s *Supervisor) start(bootstrap []byte) (*process, error) {
	file, err := bootstrapFile(bootstrap)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	// Not CommandContext: what ends Envoy is Stop's escalation, and it signals the group.
	cmd := exec.Command(s.path, s.args...) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr, cmd.Env = s.cfg.Stdout, s.cfg.Stderr, s.cfg.Env
	cmd.ExtraFiles = []*os.File{file}

	s.mu.Lock() // held over the start, see PID
	defer s.mu.Unlock()
	if s.stopped {
		return nil, nil
	}
	proc, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	s.proc = proc
	s.status.PID, s.status.Started = proc.pid, proc.started
	s.setState(StateStarting)
	s.metrics.up.Set(1)
	s.log.Info("envoy started", "pid", proc.pid, "path", s.path)
	return proc, nil
}
