// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSecondSignalMeansNow(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		begin     func(*Drainer)
		signals   int
		wantAfter time.Duration
	}{
		"one signal":                  {nil, 1, 30 * time.Second},
		"two signals":                 {nil, 2, time.Second},
		"signal joins HTTP":           {func(d *Drainer) { d.Shutdown(byHTTP) }, 1, 30 * time.Second},
		"HTTP, then signal, signal":   {func(d *Drainer) { d.Shutdown(byHTTP) }, 2, time.Second},
		"three signals, still an end": {nil, 3, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProxy()
				p.set(1)
				d := runDrainer(t, DrainConfig{Proxy: p, Grace: 30 * time.Second})
				signals := make(chan os.Signal)
				watched := make(chan error, 1)
				go func() { watched <- d.Signals(t.Context(), signals) }()
				if tc.begin != nil {
					tc.begin(d.Drainer)
				}
				for i := range tc.signals {
					if i == 1 {
						time.Sleep(time.Second)
					}
					signals <- syscall.SIGTERM
				}
				if got := d.wait(t); got != tc.wantAfter {
					t.Errorf("took %s, want %s", got, tc.wantAfter)
				}
				close(signals)
				if err := <-watched; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestNowWhileTheProxyTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy()
		p.stopTakes = time.Hour
		d := runDrainer(t, DrainConfig{Proxy: p})
		d.Shutdown(bySignal)
		time.Sleep(time.Second)
		if s := d.State(); s.State != Stopping {
			t.Fatalf("state is %s", s.State)
		}
		d.Shutdown(Request{By: ByHTTP, Now: true})
		if got := d.wait(t); got != time.Second {
			t.Errorf("took %s", got)
		}
		if _, _, killed := p.counts(); !killed {
			t.Error("the proxy was not killed")
		}
	})
}

func TestNowIsTriedGentlyFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy()
		p.stopTakes = time.Hour
		d := runDrainer(t, DrainConfig{Proxy: p, Grace: time.Minute})
		d.Shutdown(Request{By: ByHTTP, Now: true})
		if got := d.wait(t); got != nowTimeout {
			t.Errorf("took %s", got)
		}
	})
}

func TestProxyThatSurvives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy()
		p.survives = true
		d := runDrainer(t, DrainConfig{Proxy: p})
		d.Shutdown(bySignal)
		if err := <-d.ended; !errors.Is(err, errProxy) {
			t.Errorf("Run gave %v", err)
		}
		if _, _, killed := p.counts(); !killed || d.State().State != Stopping {
			t.Errorf("killed %t, state %+v", killed, d.State())
		}
	})
}

func TestContextEndsTheDrainer(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]bool{"before a shutdown": false, "within one": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProxy()
				d, err := NewDrainer(DrainConfig{Proxy: p, Grace: time.Hour}, nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if ask {
					d.Shutdown(bySignal)
				}
				if err := d.Run(ctx); err != nil {
					t.Errorf("Run gave %v", err)
				}
				<-d.Done()
				if _, stops, _ := p.counts(); stops != 0 {
					t.Error("the proxy was stopped")
				}
				if err := d.Signals(ctx, nil); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestDumpIsFinishedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		takes    time.Duration
		now      bool
		complete bool
		want     time.Duration
	}{
		"fast":       {10 * time.Millisecond, false, true, DefaultPoll},
		"slow":       {3 * time.Second, false, true, 3 * time.Second},
		"too slow":   {time.Hour, false, false, 10 * time.Second},
		"in a hurry": {time.Hour, true, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				complete := false
				d := runDrainer(t, DrainConfig{Proxy: newFakeProxy(), Grace: 10 * time.Second,
					Dump: func(ctx context.Context) error {
						select {
						case <-time.After(tc.takes):
							complete = true
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					}})
				d.Shutdown(Request{By: ByHTTP, Now: tc.now})
				if got := d.wait(t); got != tc.want {
					t.Errorf("took %s, want %s", got, tc.want)
				}
				if complete != tc.complete {
					t.Errorf("complete is %t", complete)
				}
			})
		})
	}
}

// TestDumpThatCannotBeCancelled is that of a dump into a full pipe.
func TestDumpThatCannotBeCancelled(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		now  bool
		want time.Duration
	}{
		"patient":    {false, 10*time.Second + DefaultStopTimeout/4},
		"in a hurry": {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				p := newFakeProxy()
				d := runDrainer(t, DrainConfig{Proxy: p, Grace: 10 * time.Second,
					Dump: func(context.Context) error { <-release; return nil }})
				d.Shutdown(Request{By: ByHTTP, Now: tc.now})
				timeout := time.AfterFunc(time.Hour, func() { close(release) })
				if got := d.wait(t); got != tc.want {
					t.Errorf("took %s, want %s", got, tc.want)
				}
				if _, stops, _ := p.counts(); stops != 1 {
					t.Errorf("the proxy was stopped %d times", stops)
				}
				if timeout.Stop() {
					close(release)
				}
			})
		})
	}
}
