// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// initRig drives an initialiser inside a synctest bubble.
type initRig struct {
	*initialiser
	changed  chan struct{}
	cds, lds *latch
	lived    chan struct{}

	mu      sync.Mutex
	started []string
	warming map[string][]string
	before  []adminv3.ServerInfo_State // what was shown when the workers were started
}

func (r *initRig) startWorkers() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = append(r.before, r.state.get())
}

func newInitRig(cdsTimeout, ldsTimeout time.Duration) *initRig {
	r := &initRig{changed: make(chan struct{}, 1), cds: newLatch(), lds: newLatch(), lived: make(chan struct{}), warming: map[string][]string{}}
	src := func(name string, phase adminv3.ServerInfo_State, timeout time.Duration, arrived *latch) source {
		return source{
			name: name, phase: phase, dynamic: true, timeout: timeout, arrived: arrived.opened,
			start: func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.started = append(r.started, name)
			},
			warming: func() []string {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.warming[name]
			},
		}
	}
	r.initialiser = &initialiser{
		logger: hclog.NewNullLogger(), state: newState(), changed: r.changed, live: func() { close(r.lived) },
		workers: r.startWorkers,
		sources: []source{
			src("cds", adminv3.ServerInfo_PRE_INITIALIZING, cdsTimeout, r.cds),
			src("lds", adminv3.ServerInfo_INITIALIZING, ldsTimeout, r.lds),
		},
	}
	return r
}

func (r *initRig) warm(source string, names ...string) {
	r.mu.Lock()
	r.warming[source] = names
	r.mu.Unlock()
	r.changed <- struct{}{}
}

// at checks the state and which types were subscribed, once all is quiet.
func (r *initRig) at(t *testing.T, want adminv3.ServerInfo_State, started ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.state.get(); got != want || !slices.Equal(r.started, started) {
		t.Errorf("state %s, started %v; want %s, %v", got, r.started, want, started)
	}
}

func TestInitialisationOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newInitRig(0, 0)
		go func() { _ = r.run(t.Context()) }()
		time.Sleep(time.Hour) // virtual: a timeout of 0 waits for ever
		r.at(t, adminv3.ServerInfo_PRE_INITIALIZING, "cds")
		r.warm("cds", "api", "db")
		r.cds.open()
		r.at(t, adminv3.ServerInfo_PRE_INITIALIZING, "cds")
		r.warm("cds", "db")
		r.at(t, adminv3.ServerInfo_PRE_INITIALIZING, "cds")
		r.warm("cds")
		r.at(t, adminv3.ServerInfo_INITIALIZING, "cds", "lds")
		r.warm("lds", "public")
		r.lds.open()
		r.at(t, adminv3.ServerInfo_INITIALIZING, "cds", "lds")
		r.warm("lds")
		r.at(t, adminv3.ServerInfo_LIVE, "cds", "lds")
		<-r.lived
		if !slices.Equal(r.before, []adminv3.ServerInfo_State{adminv3.ServerInfo_INITIALIZING}) {
			t.Errorf("the workers were started in %v, want once, just before LIVE", r.before)
		}
	})
}

func TestInitialisationTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newInitRig(3*time.Second, 3*time.Second)
		go func() { _ = r.run(t.Context()) }()
		time.Sleep(3*time.Second - time.Millisecond) // virtual time
		r.at(t, adminv3.ServerInfo_PRE_INITIALIZING, "cds")
		time.Sleep(2 * time.Millisecond)
		r.at(t, adminv3.ServerInfo_INITIALIZING, "cds", "lds")
		// What warms has the default timeout of its own.
		r.warm("lds", "public")
		r.lds.open()
		time.Sleep(defaultFetchTimeout - time.Millisecond)
		r.at(t, adminv3.ServerInfo_INITIALIZING, "cds", "lds")
		time.Sleep(2 * time.Millisecond)
		r.at(t, adminv3.ServerInfo_LIVE, "cds", "lds")
	})
}

func TestInitialisationEnds(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newInitRig(0, 0)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- r.run(ctx) }()
			if open {
				r.warm("cds", "for ever")
				r.cds.open()
			}
			synctest.Wait()
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("run: %v", err)
			}
			r.at(t, adminv3.ServerInfo_PRE_INITIALIZING, "cds")
		})
	}
}

func TestDrainingOnlyWhenLive(t *testing.T) {
	t.Parallel()
	s := newState()
	s.fail(true)
	if got := s.get(); got != adminv3.ServerInfo_PRE_INITIALIZING {
		t.Errorf("state = %s", got)
	}
	s.enter(adminv3.ServerInfo_LIVE)
	if got := s.get(); got != adminv3.ServerInfo_DRAINING {
		t.Errorf("state = %s", got)
	}
	s.fail(false)
	if got := s.get(); got != adminv3.ServerInfo_LIVE {
		t.Errorf("state = %s", got)
	}
}
