// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Status is a snapshot of a session, fit to be shown: it holds no secret.
type Status struct {
	// Connected tells whether a server answers and accepts the token.
	Connected bool `json:"connected"`
	// Server is the address in use, or the last one that was.
	Server string `json:"server,omitempty"`
	// Since is when Connected or Server changed last.
	Since time.Time `json:"since"`
	// Epoch grows by one with every server or token taken into use; zero means
	// that there was none yet. Streams opened in an earlier epoch are about to
	// be ended.
	Epoch uint64 `json:"epoch"`
	// TokenAccessor is the public ID of a token obtained by login.
	TokenAccessor string `json:"token_accessor,omitempty"`
	// TokenSince is when the token was read or obtained; zero without one.
	TokenSince time.Time `json:"token_since,omitzero"`
	// Waiting says in words what the session waits for; empty when nothing.
	Waiting string `json:"waiting,omitempty"`
	// LastError is the last thing that went wrong, in words, and LastErrorAt
	// when. They stay after a recovery.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// BootstrapError is why there are no bootstrap parameters yet, in the server's
	// words; empty unless BootstrapParams waits for another answer.
	BootstrapError string `json:"bootstrap_error,omitempty"`
	// Refused is set while servers refuse the credentials.
	Refused *Refusal `json:"refused,omitempty"`
	// ReloadError says why changed files are not in use; empty when they are.
	ReloadError string `json:"reload_error,omitempty"`
}

// Refusal is a run of refusals of the session's credentials.
type Refusal struct {
	// Message is the server's own.
	Message string `json:"message"`
	// Count is the number of refusals in a row.
	Count int `json:"count"`
	// Since is when the first of them came.
	Since time.Time `json:"since"`

	code codes.Code
}
