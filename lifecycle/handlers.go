// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// gracefulShutdown begins the shutdown or joins it, and answers at once with its state. With ?wait it answers when the
// proxy is gone; with ?now, for POST only, the shutdown skips drain and grace.
func (s *Server) gracefulShutdown(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	now := query.Has("now")
	if now && r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "?now ends connections: use POST", http.StatusMethodNotAllowed)
		return
	}
	s.cfg.Drainer.Shutdown(Request{By: ByHTTP, Detail: r.Method + " " + r.URL.Path, Now: now})
	wait, until := lookTimeout, s.cfg.Drainer.Looked()
	if query.Has("wait") {
		wait, until = s.cfg.Drainer.Limit()+time.Second, s.cfg.Drainer.Done()
		extendWrite(w, wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-until:
	case <-s.cfg.Drainer.Done():
	case <-timer.C:
	case <-r.Context().Done():
	}
	writeJSON(w, http.StatusOK, s.cfg.Drainer.State())
}

// startup is the answer of the startup endpoint.
type startup struct {
	// State is live, timeout (the startup grace period is over) or terminating.
	State string `json:"state"`
	// WaitedSeconds is how long the answer was held.
	WaitedSeconds float64 `json:"waited_seconds"`
}

// gracefulStartup holds its answer until the proxy is LIVE or the startup grace period is over. The status is 200 either
// way, for a postStart hook that fails would have the container killed.
func (s *Server) gracefulStartup(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	extendWrite(w, s.cfg.StartupGrace)
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.StartupGrace)
	defer cancel()
	answer := startup{State: "live"}
	switch err := s.waitLive(ctx); {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		answer.State = "timeout"
	default:
		answer.State = "terminating"
	}
	answer.WaitedSeconds = time.Since(began).Seconds()
	writeJSON(w, http.StatusOK, answer)
}

// errTerminating is why waiting for a proxy that is LIVE ends during a shutdown.
var errTerminating = errors.New("terminating")

// waitLive waits until the proxy is LIVE or a shutdown begins.
func (s *Server) waitLive(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		select {
		case <-s.cfg.Drainer.Asked():
			cancel(errTerminating)
		case <-ctx.Done():
		}
	}()
	err := s.cfg.WaitLive(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	<-joined
	if err != nil && cause != nil {
		return cause
	}
	return err
}

// live answers 200 unless podplane itself is stuck. A proxy that is down, or a Consul that is away, is no reason to have
// the container restarted: podplane is at it.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Alive != nil {
		if err := s.cfg.Alive(r.Context()); err != nil {
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"state": "stuck", "error": err.Error()})
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"state": "live"})
}

// ready answers 200 when nothing is pending and nothing terminates, else 503 with the pending tasks.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	state := s.cfg.Readiness.State()
	status := http.StatusOK
	if !state.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, state)
}

// extendWrite gives the answer the time that its wait takes.
func extendWrite(w http.ResponseWriter, wait time.Duration) {
	// Only a writer without deadlines, such as a test's recorder, gives an error.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + answerMargin))
}
