// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const proxyCheck = "podplane-ready:web-sidecar-proxy"

// hanging lets the catalog hang at the next requests that match, as many as are asked for, until release is called. hung
// is closed when the first one does.
func hanging(t *testing.T, c *fakeCatalog, match string, count int) (hung <-chan struct{}, release func()) {
	t.Helper()
	matching, first, held := regexp.MustCompile(match), make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(first) })
	c.do(func() {
		c.hang = func(asked string) <-chan struct{} {
			if count == 0 || !matching.MatchString(asked) {
				return nil
			}
			count--
			begin()
			return held
		}
	})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	return first, release
}

// await waits for what is announced.
func await(t *testing.T, what string, announced <-chan struct{}) {
	t.Helper()
	select {
	case <-announced:
	case <-time.After(patience):
		t.Fatal("in vain waited for " + what)
	}
}

// startReady runs a registrar whose registration passes.
func startReady(t *testing.T, c *fakeCatalog, hurry time.Duration) *running {
	t.Helper()
	r := start(t, c, definition, func(r *running) {
		r.ready.Store(true)
		r.tune.hurry = hurry
	})
	r.mustRegister()
	eventually(t, "passing", func() bool { return c.status(proxyCheck) == Passing && c.status("podplane-ready:web") == Passing })
	return r
}

// TestDrainCutsAWriteShort: a drain does not wait for a server that hangs at what was asked before it.
func TestDrainCutsAWriteShort(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"node-services", "health/node", "^register web$", "^register web-sidecar-proxy$"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := startCatalog(t, false)
			r := startReady(t, c, time.Hour)
			hung, _ := hanging(t, c, what, 1)
			r.changes <- struct{}{}
			await(t, "a request that hangs", hung)
			begun := time.Now()
			close(r.draining)
			eventually(t, "critical by the drain", func() bool { return c.status(proxyCheck) == Critical })
			if took := time.Since(begun); took > requestTimeout/2 {
				t.Errorf("critical after %s", took)
			}
			if strings.Contains(r.log.String(), "cannot register") {
				t.Error("what was cut short on purpose is logged as a failure")
			}
		})
	}
}

// TestDrainTriesAgain: the drain's own writes do not wait for a server that hangs either.
func TestDrainTriesAgain(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := startReady(t, c, 20*time.Millisecond)
	hanging(t, c, "register", 2)
	begun := time.Now()
	close(r.draining)
	eventually(t, "critical by the drain", func() bool {
		return c.status(proxyCheck) == Critical && c.status("podplane-ready:web") == Critical
	})
	if took := time.Since(begun); took > requestTimeout/2 {
		t.Errorf("critical after %s", took)
	}
}

// TestDrainWritesWhatWasNot: a proxy that was not ready already, which no server had taken in, turns critical with the
// drain and does not wait for the next attempt.
func TestDrainWritesWhatWasNot(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := start(t, c, definition, func(r *running) {
		r.ready.Store(true)
		r.tune.retryFirst, r.tune.retryLimit = time.Hour, time.Hour
	})
	r.mustRegister()
	eventually(t, "passing", func() bool { return c.status(proxyCheck) == Passing && c.status("podplane-ready:web") == Passing })
	c.do(func() { c.decide = func(string) (int, string) { return http.StatusInternalServerError, "no leader" } })
	r.ready.Store(false)
	eventually(t, "a write that fails", func() bool { return r.Status().LastError != "" })
	c.do(func() { c.decide = nil })
	close(r.draining)
	eventually(t, "critical by the drain", func() bool {
		return c.status(proxyCheck) == Critical && c.status("podplane-ready:web") == Critical
	})
}

// TestWriteThatWasCutArrivesLate: a server may act on a request after the one that came later; it has not the last word.
func TestWriteThatWasCutArrivesLate(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := startReady(t, c, 20*time.Millisecond)
	hung, release := hanging(t, c, "^register web$", 1)
	r.changes <- struct{}{}
	await(t, "a write that hangs", hung)
	close(r.draining)
	eventually(t, "critical by the drain", func() bool { return c.status("podplane-ready:web") == Critical })
	late := make(chan struct{})
	c.do(func() {
		c.decide = func(string) (int, string) {
			if c.checks["podplane-ready:web"].Status == Passing {
				close(late)
				c.decide = nil
			}
			return 0, ""
		}
	})
	release()
	await(t, "a write after it", late)
	eventually(t, "critical again", func() bool { return c.status("podplane-ready:web") == Critical })
}

// TestDrainWritesTheProxyFirst: it is the proxy that the mesh looks at.
func TestDrainWritesTheProxyFirst(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := startReady(t, c, time.Hour)
	var before int
	c.do(func() { before = len(c.taken) })
	close(r.draining)
	eventually(t, "critical by the drain", func() bool { return c.status("podplane-ready:web") == Critical })
	c.do(func() {
		for _, written := range c.taken[before:] {
			if written.Checks[0].Status == Critical {
				if id := written.Service.ID; id != "web-sidecar-proxy" {
					t.Errorf("%s is critical first", id)
				}
				return
			}
		}
	})
}

// TestAddressThatNobodyReaches: with a server on this machine the way to it is loopback, and that is said, once.
func TestAddressThatNobodyReaches(t *testing.T) {
	t.Parallel()
	const words = "no other machine reaches"
	c := startCatalog(t, false)
	r := start(t, c, definition)
	r.mustRegister()
	before := c.count("register web")
	r.changes <- struct{}{}
	eventually(t, "a second write", func() bool { return c.count("register web") > before })
	if log := r.log.String(); strings.Count(log, words) != 1 || !strings.Contains(log, "set address in the service file") ||
		!strings.Contains(log, "address=127.0.0.1") {
		t.Error("it is not said once, with its cure")
	}
	given := start(t, c, `service { name = "web" address = "127.0.0.1" port = 8080 connect { sidecar_service {} } }`)
	given.mustRegister()
	if strings.Contains(given.log.String(), words) {
		t.Error("an address that was given is warned of")
	}
	(&Registrar{}).warnOfLoopback(net.ParseIP("192.0.2.1")) // would need a log
}
