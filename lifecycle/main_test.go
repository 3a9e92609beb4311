// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"flag"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errProxy = errors.New("proxy does not answer")

// fakeProxy is a proxy as the drainer sees one. Fields are set before it is used, or by its methods.
type fakeProxy struct {
	stopTakes time.Duration // 0 ends at once
	hangs     bool          // calls do not return before their context ends
	survives  bool          // Stop gives an error
	noDrain   bool          // DrainInbound gives an error

	mu          sync.Mutex
	incarnation int
	inFlight    int
	drains      int
	refused     time.Time // of the last refusal
	refusals    int
	stops       int
	killed      chan struct{}
	isKilled    bool
}

func newFakeProxy() *fakeProxy { return &fakeProxy{incarnation: 1, killed: make(chan struct{})} }

func (p *fakeProxy) set(inFlight int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = inFlight
}

func (p *fakeProxy) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.incarnation++
}

func (p *fakeProxy) counts() (drains, stops int, killed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drains, p.stops, p.isKilled
}

func (p *fakeProxy) Incarnation() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.incarnation
}

func (p *fakeProxy) DrainInbound(ctx context.Context) error {
	if p.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drains++
	if p.noDrain {
		return errProxy
	}
	return nil
}

func (p *fakeProxy) RefuseInbound(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noDrain {
		return errProxy
	}
	p.refused = time.Now()
	p.refusals++
	return nil
}

func (p *fakeProxy) InFlight(ctx context.Context) (int, error) {
	if p.hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight, nil
}

func (p *fakeProxy) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stops++
	p.mu.Unlock()
	timer := time.NewTimer(p.stopTakes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.killed:
	case <-ctx.Done():
	}
	if p.survives {
		return errProxy
	}
	return nil
}

func (p *fakeProxy) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isKilled {
		p.isKilled = true
		close(p.killed)
	}
}
