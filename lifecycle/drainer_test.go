// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var (
	byHTTP   = Request{By: ByHTTP, Detail: "POST /graceful_shutdown"}
	bySignal = Request{By: BySignal, Detail: "terminated"}
)

// drained is a drainer that runs in a bubble.
type drained struct {
	*Drainer
	ended chan error
	began time.Time
}

// runDrainer starts one; the time of its end is measured from now.
func runDrainer(t *testing.T, cfg DrainConfig) *drained {
	t.Helper()
	d, err := NewDrainer(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &drained{Drainer: d, ended: make(chan error, 1), began: time.Now()}
	go func() { r.ended <- d.Run(t.Context()) }()
	return r
}

// wait gives the time that the shutdown took.
func (d *drained) wait(t *testing.T) time.Duration {
	t.Helper()
	if err := <-d.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if s := d.State(); s.State != Stopped {
		t.Errorf("state is %s", s.State)
	}
	return time.Since(d.began)
}

// TestWhenItEnds is the table of the shutdown's times: who asks, what is in flight and until when, and how long it
// takes.
func TestWhenItEnds(t *testing.T) {
	t.Parallel()
	const grace = 30 * time.Second
	const look = DefaultPoll
	for name, tc := range map[string]struct {
		ask      Request
		whenIdle WhenIdle
		busyFor  time.Duration // 0: idle from the beginning; less than 0: for ever
		want     time.Duration
	}{
		"http, auto, idle":           {byHTTP, IdleAuto, 0, look},
		"http, default, idle":        {byHTTP, "", 0, look},
		"http, auto, busy for 3 s":   {byHTTP, IdleAuto, 3 * time.Second, 3*time.Second + look},
		"http, auto, busy for ever":  {byHTTP, IdleAuto, -1, grace},
		"http, never, idle":          {byHTTP, IdleNever, 0, grace},
		"http, always, idle":         {byHTTP, IdleAlways, 0, look},
		"signal, auto, idle":         {bySignal, IdleAuto, 0, grace},
		"signal, never, idle":        {bySignal, IdleNever, 0, grace},
		"signal, always, idle":       {bySignal, IdleAlways, 0, look},
		"signal, always, busy 1 s":   {bySignal, IdleAlways, time.Second, time.Second + look},
		"http, now, busy for ever":   {Request{By: ByHTTP, Now: true}, IdleNever, -1, 0},
		"signal, now, busy for ever": {Request{By: BySignal, Now: true}, IdleAuto, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProxy()
				if tc.busyFor != 0 {
					p.set(1)
				}
				d := runDrainer(t, DrainConfig{Proxy: p, Grace: grace, WhenIdle: tc.whenIdle})
				if tc.busyFor > 0 {
					time.AfterFunc(tc.busyFor-time.Millisecond, func() { p.set(0) })
				}
				s := d.Shutdown(tc.ask)
				if s.State != Draining || !s.Deadline.Equal(d.began.Add(grace)) || s.Reason != tc.ask.Reason() {
					t.Errorf("answer is %+v", s)
				}
				if got := d.wait(t); got != tc.want {
					t.Errorf("took %s, want %s", got, tc.want)
				}
			})
		})
	}
}

func TestNothingToDrain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fakeProxy, *DrainConfig){
		"proxy never live": func(p *fakeProxy, _ *DrainConfig) { p.incarnation = 0 },
		"no grace":         func(_ *fakeProxy, c *DrainConfig) { c.Grace = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProxy()
				cfg := DrainConfig{Proxy: p, Grace: time.Minute, DrainInbound: true}
				change(p, &cfg)
				d := runDrainer(t, cfg)
				d.Shutdown(bySignal)
				if got := d.wait(t); got != 0 {
					t.Errorf("took %s", got)
				}
				if drains, stops, _ := p.counts(); drains != 0 || stops != 1 {
					t.Errorf("%d drains and %d stops", drains, stops)
				}
				<-d.Looked()
			})
		})
	}
}

func TestDrainInbound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy()
		d := runDrainer(t, DrainConfig{Proxy: p, Grace: 10 * time.Second, DrainInbound: true})
		d.Shutdown(bySignal)
		time.Sleep(5 * time.Second)
		if drains, _, _ := p.counts(); drains != 1 {
			t.Errorf("%d drains, want 1", drains)
		}
		p.restart() // the new proxy accepts inbound traffic again
		d.wait(t)
		if drains, _, _ := p.counts(); drains != 2 {
			t.Errorf("%d drains after a restart, want 2", drains)
		}
	})
}

func TestDrainThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy()
		p.noDrain = true
		d := runDrainer(t, DrainConfig{Proxy: p, Grace: time.Second, DrainInbound: true})
		d.Shutdown(bySignal)
		d.wait(t)
		if drains, _, _ := p.counts(); drains < 10 {
			t.Errorf("%d drains, want one a look", drains)
		}
		if s := d.State(); s.LastError != "drain inbound listeners: proxy does not answer" {
			t.Errorf("last error is %q", s.LastError)
		}
	})
}

func TestHungProxyCannotHoldTheEnd(t *testing.T) {
	t.Parallel()
	for name, grace := range map[string]time.Duration{"no grace": 0, "some grace": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProxy()
				p.hangs, p.stopTakes = true, time.Hour
				d := runDrainer(t, DrainConfig{Proxy: p, Grace: grace, DrainInbound: true, WhenIdle: IdleAlways,
					Dump: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
				d.Shutdown(byHTTP)
				if got := d.wait(t); got > grace+2*time.Second {
					t.Errorf("took %s", got)
				}
				if s := d.State(); s.ActiveConnections != nil || s.LastError == "" {
					t.Errorf("state is %+v", s)
				}
			})
		})
	}
}

func TestLaterRequestsJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy()
		registry := prometheus.NewRegistry()
		d := runDrainer(t, DrainConfig{Proxy: p, Grace: 30 * time.Second, Registerer: registry})
		first := d.Shutdown(bySignal)
		time.Sleep(10 * time.Second)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				s := d.Shutdown(byHTTP)
				if s.Reason != first.Reason || !s.Deadline.Equal(first.Deadline) || !s.WhenIdle {
					t.Errorf("joined %+v", s)
				}
			})
		}
		callers.Wait()
		// The application has said that it is done: idleness ends what a signal began.
		if got := d.wait(t); got > 10*time.Second+2*DefaultPoll {
			t.Errorf("took %s", got)
		}
		if _, stops, killed := p.counts(); stops != 1 || killed {
			t.Errorf("%d stops, killed %t", stops, killed)
		}
		const want = `
# HELP podplane_lifecycle_shutdowns_total Shutdowns begun, by who asked first: http or signal. Never more than one.
# TYPE podplane_lifecycle_shutdowns_total counter
podplane_lifecycle_shutdowns_total{source="signal"} 1
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "podplane_lifecycle_shutdowns_total"); err != nil {
			t.Error(err)
		}
		if s := d.Shutdown(byHTTP); s.State != Stopped {
			t.Errorf("a request after the end gave %+v", s)
		}
	})
}

func TestFitted(t *testing.T) {
	t.Parallel()
	const usual = 2 * time.Second
	for name, tc := range map[string]struct{ grace, pod, wantGrace, wantStop time.Duration }{
		"unknown":        {30 * time.Second, 0, 30 * time.Second, usual},
		"fits":           {20 * time.Second, 30 * time.Second, 20 * time.Second, usual},
		"too long":       {30 * time.Second, 30 * time.Second, 27 * time.Second, usual},
		"no grace":       {0, 30 * time.Second, 0, usual},
		"just fits":      {27 * time.Second, 30 * time.Second, 27 * time.Second, usual},
		"no grace left":  {30 * time.Second, 3 * time.Second, 0, usual},
		"shorter stop":   {30 * time.Second, 2 * time.Second, 0, time.Second},
		"no room at all": {30 * time.Second, time.Second, 0, nowTimeout},
		"less than none": {30 * time.Second, time.Millisecond, 0, nowTimeout},
		"stop, no grace": {0, 2500 * time.Millisecond, 0, 1500 * time.Millisecond},
	} {
		var out bytes.Buffer
		got := DrainConfig{Grace: tc.grace, TerminationGrace: tc.pod, StopTimeout: usual}.fitted(
			hclog.New(&hclog.LoggerOptions{Output: &out}))
		if got.Grace != tc.wantGrace || got.StopTimeout != tc.wantStop {
			t.Errorf("%s: got %s and %s, want %s and %s", name, got.Grace, got.StopTimeout, tc.wantGrace, tc.wantStop)
		}
		shortened := tc.wantGrace != tc.grace || tc.wantStop != usual
		if warned := strings.Contains(out.String(), "[WARN]"); warned != shortened {
			t.Errorf("%s: the log is %q", name, out.String())
		}
	}
}

// TestTinyTerminationGrace has a proxy that does not end by itself in a pod that is killed after two seconds.
func TestTinyTerminationGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy()
		p.stopTakes = time.Hour
		d := runDrainer(t, DrainConfig{Proxy: p, Grace: 30 * time.Second, TerminationGrace: 2 * time.Second})
		d.Shutdown(bySignal)
		if got := d.wait(t); got != time.Second {
			t.Errorf("took %s, want 1s", got)
		}
	})
}

func TestGraceThatDoesNotFitIsWarnedOf(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d, err := NewDrainer(DrainConfig{Proxy: newFakeProxy(), Grace: 30 * time.Second, TerminationGrace: 30 * time.Second},
		hclog.New(&hclog.LoggerOptions{Output: &out}))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "[WARN]") || d.Limit() >= 30*time.Second || d.Grace() < 25*time.Second {
		t.Errorf("limit %s, grace %s, log %q", d.Limit(), d.Grace(), out.String())
	}
}

func TestNewDrainerRefuses(t *testing.T) {
	t.Parallel()
	taken := prometheus.NewRegistry()
	if _, err := newDrainMetrics(taken); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]DrainConfig{
		"no proxy":                   {},
		`when-idle is "sometimes"`:   {Proxy: newFakeProxy(), WhenIdle: "sometimes"},
		"register lifecycle metrics": {Proxy: newFakeProxy(), Registerer: taken},
	} {
		if _, err := NewDrainer(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}
