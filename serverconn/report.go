// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// RefusedError says that a server refuses the session's credentials. It matches
// ErrRefused.
type RefusedError struct {
	// Operation is what was refused.
	Operation string
	// Code and Message are the server's own.
	Code    codes.Code
	Message string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: refused by the Consul server: %s (%s)", e.Operation, e.Message, e.Code)
}

// Is makes a RefusedError an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// limiter lets a line about a wait through when it is news, and again after an
// interval.
type limiter struct {
	kind  string
	since time.Time
	last  time.Time
}

func (l *limiter) allow(kind string, now time.Time, repeat time.Duration) bool {
	if l.since.IsZero() {
		l.since = now
	}
	if kind == l.kind && now.Sub(l.last) < repeat {
		return false
	}
	l.kind, l.last = kind, now
	return true
}

// wait records that the session waits for something, and why it has not got it,
// and logs it unless it did so a moment ago.
func (s *Session) wait(what string, err error) {
	tr := s.note(what, err)
	s.mu.Lock()
	now := time.Now()
	say := s.notices.allow(what+tr.kind, now, s.tune.repeat)
	waited := now.Sub(s.notices.since)
	s.mu.Unlock()
	if say {
		s.log.Warn("waiting", "for", what, "error", tr.words, "servers", s.cfg.serverSource(),
			"port", s.cfg.GRPCPort, "waited", waited.Round(time.Millisecond))
	}
}

// note records a trouble without a word in the log.
func (s *Session) note(what string, err error) trouble {
	tr := explain(err)
	tr.words = s.redact(tr.words)
	s.metrics.troubles.WithLabelValues(tr.kind).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Waiting = what
	s.status.LastError, s.status.LastErrorAt = tr.words, time.Now()
	return tr
}

// countRefusal records one more refusal of the credentials and tells whether it
// was the last that Run puts up with.
func (s *Session) countRefusal(err error) bool {
	message := s.redact(serverWords(err))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Refused == nil {
		s.status.Refused = &Refusal{Since: time.Now()}
	}
	r := s.status.Refused
	r.Message, r.code = message, grpcCode(err)
	r.Count++
	s.notifyLocked()
	return !s.tolerant && s.status.Epoch == 0 && s.cfg.MaxRefusals > 0 && r.Count >= s.cfg.MaxRefusals
}

// words puts err in plain words, fit for a log.
func (s *Session) words(err error) string { return s.redact(explain(err).words) }

// withoutSecrets gives the error of a call as a user of the
// connection may show it: should a server repeat a secret in its words, they are
// replaced, and the code stays.
func (s *Session) withoutSecrets(err error) error {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	if words := s.redact(st.Message()); words != st.Message() {
		return status.Error(st.Code(), words)
	}
	return err
}

// redact cuts the session's secrets out of a text.
func (s *Session) redact(text string) string { return s.secrets.redact(text) }
