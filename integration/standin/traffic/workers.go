// SPDX-License-Identifier: MPL-2.0

package traffic

// StartWorkers lets the listeners accept: those that are there, and from now on each when it becomes active. Envoy starts
// its workers when initialisation is over; a client that comes earlier finds the address bound and nobody listening.
// Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/init
func (e *Engine) StartWorkers() { e.listeners.startWorkers() }

// mayListen says whether a version that becomes active is listened on at once. The lock is held.
func (s *listenerSet) mayListen(l *listener) bool {
	return s.working && (!s.stopped || !s.engine.drain.covers(l.shared.inbound))
}

// startWorkers listens on what has become active so far. A listener that cannot be listened on is dropped, as in Envoy.
func (s *listenerSet) startWorkers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.working = true
	for name, l := range s.active {
		if !s.mayListen(l) {
			continue
		}
		if err := l.port.activate(l); err != nil {
			s.engine.log.Error("listener not activated", "listener", name, "error", err)
			delete(s.active, name)
			l.port.stop()
			l.discard(s.warming[name])
		}
	}
}
