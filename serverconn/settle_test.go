// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"testing"
	"time"
)

// TestSettle: a token that is gone is missed by asking, not only by the guard's
// own round, and the caller waits for the new one.
func TestSettle(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.bearers["jwt"] = true
	cfg, _ := withLogin(t, c, "jwt")
	r := start(t, cfg, func(tune *tuning) { tune.probeInterval = time.Hour })
	r.mustBeReady(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	before := r.Status()
	asked := time.Now()
	if r.Settle(ctx, asked) || r.Status() != before {
		t.Error("a known token was renewed")
	}
	eventually(t, "an old token", func() bool { return time.Since(before.TokenSince) > r.tune.settle })
	c.deleteToken(c.liveTokens()[0])
	if !r.Settle(ctx, asked) {
		t.Error("no change is told of")
	}
	if after := r.Status(); after.TokenAccessor == before.TokenAccessor || ctx.Err() != nil {
		t.Errorf("not renewed: %+v", after)
	}
	if _, err := r.ask(ctx); err != nil {
		t.Error(err)
	}
}

// TestSettleWithoutLogin: there is nothing to wait for.
func TestSettleWithoutLogin(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	cfg := plain(c)
	cfg.Credentials = Credentials{Type: CredentialStatic, StaticToken: "unknown"}
	r := start(t, cfg)
	if r.Settle(t.Context(), time.Now()) {
		t.Error("an unknown static token was renewed")
	}
}
