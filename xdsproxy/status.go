// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxReason bounds what is kept of a rejection's text, in bytes. Envoy's reasons
// list every rejected resource and can be long.
const maxReason = 4 << 10

// Status is the state of the proxy at one moment. It holds no secret.
type Status struct {
	// EnvoyConnected tells whether Envoy's stream is open.
	EnvoyConnected bool `json:"envoy_connected"`
	// UpstreamConnected tells whether a stream to a server is open that has not
	// failed so far.
	UpstreamConnected bool `json:"upstream_connected"`
	// DisconnectedSince is when the last upstream stream was lost; zero while
	// one is open.
	DisconnectedSince time.Time `json:"disconnected_since,omitzero"`
	// LastMessage is when the last response of a server arrived.
	LastMessage time.Time `json:"last_message,omitzero"`
	// LastError is why the last upstream stream ended or could not be opened.
	LastError string `json:"last_error,omitempty"`
	// Refusals counts the refusals in a row: streams that a server ended because
	// of what was asked or who asked, before it answered anything.
	Refusals int `json:"refusals,omitempty"`
	// Types holds the state of each resource type by its short name, such as
	// "Cluster".
	Types map[string]TypeStatus `json:"types,omitempty"`
}

// TypeStatus is the state of one resource type.
type TypeStatus struct {
	// Resources is the number of resources that Envoy has accepted and holds.
	Resources int `json:"resources"`
	// Synced tells whether Envoy has accepted at least one answer of the type.
	Synced bool `json:"synced"`
	// LastACK and LastNACK are when Envoy last accepted and rejected an answer.
	LastACK  time.Time `json:"last_ack,omitzero"`
	LastNACK time.Time `json:"last_nack,omitzero"`
	// LastReason is Envoy's reason for the last rejection.
	LastReason string `json:"last_nack_reason,omitempty"`
	// Rejected is that reason as long as no answer has been accepted since.
	Rejected string `json:"rejected,omitempty"`
}

func (t *TypeStatus) ack(at time.Time) {
	t.Synced, t.LastACK, t.Rejected = true, at, ""
}

func (t *TypeStatus) nack(at time.Time, reason string) {
	t.LastNACK, t.LastReason = at, bounded(reason)
	t.Rejected = t.LastReason
}

func bounded(reason string) string {
	return reason[:min(len(reason), maxReason)]
}

// RefusedError says that the servers refuse to serve this proxy, in their own
// words.
type RefusedError struct {
	// Refusals counts them, in a row.
	Refusals int
	// Err is the last one; it carries the gRPC status.
	Err error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("consul servers refused this proxy %d times in a row: %s", e.Refusals, status.Convert(e.Err).Message())
}

// Unwrap gives the last refusal.
func (e *RefusedError) Unwrap() error { return e.Err }

// Status gives the state of the proxy at this moment.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if s.current == nil {
		return st
	}
	st.EnvoyConnected = true
	st.Types = make(map[string]TypeStatus, len(s.current.ledger.order))
	for _, sub := range s.current.ledger.order {
		st.Types[shortType(sub.typeURL)] = sub.status
	}
	return st
}

// answered notes a response of a server's.
func (s *Server) answered() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.lastResponse.Set(float64(now.UnixMilli()) / 1e3)
	s.patience = s.config.FirstPatience
	s.status.LastMessage = now
	s.status.LastError = ""
	s.status.Refusals = 0
}

// attached notes that there is an upstream stream. The caller has locked.
func (s *Server) attached() {
	if s.status.LastError != "" {
		s.log.Info("xds stream to a consul server is open again", "away", s.now().Sub(s.status.DisconnectedSince))
	}
	s.status.UpstreamConnected = true
	s.status.DisconnectedSince = time.Time{}
	s.status.LastError = ""
	s.metrics.disconnectedSince.Set(0)
}

// left notes that an upstream stream was left for another one, as is usual.
func (s *Server) left(reason error) {
	s.log.Debug("xds stream was left for another one", "reason", reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnected()
}

// disconnected notes that there is no upstream stream. The caller has locked.
func (s *Server) disconnected() {
	if s.status.UpstreamConnected || s.status.DisconnectedSince.IsZero() {
		s.status.DisconnectedSince = s.now()
		s.metrics.disconnectedSince.Set(float64(s.now().UnixMilli()) / 1e3)
	}
	s.status.UpstreamConnected = false
	s.metrics.upstreamUp.Set(0)
}

// lost notes the end of an upstream stream. When the servers keep refusing a
// proxy that they have never served, it gives up: what they refuse (a version,
// a permission) does not heal by trying. A proxy that has its configuration
// goes on with it; its traffic is worth more than an early end.
func (s *Server) lost(err error, answered bool) {
	code := status.Code(err)
	s.metrics.errors.WithLabelValues(code.String()).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnected()
	message := status.Convert(err).Message()
	if message != s.status.LastError {
		s.log.Warn("xds stream to the consul server ended", "code", code.String(), "error", message)
	}
	s.status.LastError = message
	if answered || !refuses(code) {
		s.status.Refusals = 0
		return
	}
	s.status.Refusals++
	if s.status.Refusals >= s.config.MaxRefusals && !s.configured() {
		select {
		case s.fatal <- &RefusedError{Refusals: s.status.Refusals, Err: err}:
		default:
		}
	}
}

// configured tells whether an Envoy has a configuration to go on with: from a
// server, or from the copy that an earlier process left. The caller has locked.
func (s *Server) configured() bool {
	return !s.status.LastMessage.IsZero() || (s.cache != nil && len(s.cache.types) > 0)
}

// refuses tells whether a status code means that the server will not serve this
// proxy, as opposed to being unable to at the moment.
func refuses(code codes.Code) bool {
	switch code {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated:
		return true
	default:
		return false
	}
}
