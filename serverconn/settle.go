// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"time"
)

// settleStep is how often Settle looks again, besides on every change. Each
// look is a question that is cheap for the server.
const settleStep = 50 * time.Millisecond

// Settle returns when the server in use knows the session's token: at once, as
// a rule, and otherwise after the login that it prompts, or with ctx. It tells
// whether the server or the token has come into use after since, so that a
// question that was asked then may have another answer now.
//
// It is for answers that an unknown token may be behind without their saying
// so, as it is behind a SERVFAIL of Consul's DNS. It does not wait where no
// login is the cure: for a token that was not obtained by login, or for a lost
// server.
func (s *Session) Settle(ctx context.Context, since time.Time) bool {
	if s.cfg.Credentials.Type == CredentialLogin {
		s.awaitKnownToken(ctx)
	}
	st := s.Status()
	return st.Connected && st.Since.After(since)
}

func (s *Session) awaitKnownToken(ctx context.Context) {
	changes, forget := s.Changes()
	defer forget()
	// The refusal of this question is what has the guard look, and log in.
	for isUnauthenticated(askFeatures(ctx, s.Conn())) || s.isRenewing() {
		if pause(ctx, settleStep, changes) != nil {
			return
		}
	}
}

// isRenewing tells whether a link was given up for its token and no other one
// is in its place yet.
func (s *Session) isRenewing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch != nil && s.epoch.link.quiet && !s.epoch.link.connected
}
