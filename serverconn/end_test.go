// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"strings"
	"testing"
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
			r := start(t, cfg)
			r.mustBeReady(t)
			inUse, _, _ := strings.Cut(r.Status().Server, ":")
			for ip, server := range c.servers {
				server.mute.Store(ip == inUse || !another)
			}
			begun := time.Now()
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			// What is over endTimeout is for the machine; a logout may take 5 s otherwise.
			if took := time.Since(begun); took > endTimeout+300*time.Millisecond {
				t.Errorf("the end took %s", took)
			}
			if left := len(c.liveTokens()); (left == 0) != another {
				t.Errorf("%d tokens left", left)
			}
		})
	}
}
