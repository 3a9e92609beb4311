// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"sync"
	"time"

	"podplane/integration/proc"
)

// stopTimeout is how long a server may take to end after SIGTERM.
const stopTimeout = 10 * time.Second

// logTailBytes is how much of a log an error or a failed test shows.
const logTailBytes = 4 << 10

// server is one server over all its processes: it may be started again after its end.
type server struct {
	spec proc.Spec

	mu      sync.Mutex
	process *proc.Process // the last one; nil before the first start
}

func (s *server) start() error {
	process, err := proc.Start(s.spec)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = process
	return nil
}

// current gives the last process; it is nil only before the cluster has been started.
func (s *server) current() *proc.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

func (s *server) running() bool {
	process := s.current()
	return process != nil && process.Running()
}

func (s *server) kill() {
	if process := s.current(); process != nil {
		process.Kill()
	}
}

func (s *server) logTail() string {
	if process := s.current(); process != nil {
		return process.Tail(logTailBytes)
	}
	return ""
}
