// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestEndIsNotHeldUp: a logout that is not answered is given up in time for the
// process to end by itself; another server's answer is still taken.
func TestEndIsNotHeldUp(t *testing.T) {
	t.Parallel()
	for name, another := range map[string]bool{"no server answers": false, "another server does": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeConsul(t, withACLs)
			c.bearers["jwt"] = true
			c.start(t, "127.0.0.2")
			c.start(t, "127.0.0.3")
			cfg, _ := withLogin(t, c, "jwt")
			cfg.Addresses = "exec=echo 127.0.0.1 127.0.0.2 127.0.0.3"
			limit := defaultTuning().endTimeout
			if another {
				limit = 6 * time.Second // the other server has half of it
			}
			r := start(t, cfg, func(tune *tuning) { tune.endTimeout = limit })
			r.mustBeReady(t)
			inUse, _, _ := strings.Cut(r.Status().Server, ":")
			for ip, server := range c.servers {
				server.mute.Store(ip == inUse || !another)
			}
			begun := time.Now()
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			// What a server is given is told to it, whatever the machine takes.
			if allowed := time.Duration(c.servers[inUse].allowed.Load()); allowed <= 0 || allowed > limit/2 {
				t.Errorf("the server in use had %s to answer", allowed)
			}
			if took := time.Since(begun); took > r.tune.logoutTimeout/2 {
				t.Errorf("the end took %s", took)
			}
			if left := len(c.liveTokens()); (left == 0) != another {
				t.Errorf("%d tokens left", left)
			}
		})
	}
}

func TestOutlive(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ ends, want time.Duration }{
		"to the limit":         {time.Hour, 5 * time.Second},
		"for the grace":        {2 * time.Second, 2700 * time.Millisecond},
		"no longer than ever":  {4900 * time.Millisecond, 5 * time.Second},
		"of what ended before": {0, 700 * time.Millisecond},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), test.ends)
				defer cancel()
				patient, done := outlive(ctx, 5*time.Second, 700*time.Millisecond)
				defer done()
				<-patient.Done()
				if took := time.Since(begun); took != test.want {
					t.Errorf("ended after %s, want %s", took, test.want)
				}
			})
		})
	}
}
