// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
)

// neverAsked is an upstream for a session that has no use for one.
type neverAsked struct{ grpc.ClientConnInterface }

// quietScene is a session whose server is asked and waited for.
type quietScene struct {
	ss    *session
	heard atomic.Bool
	epoch atomic.Uint64
	left  []time.Duration // when the server was left, since the start
}

func (q *quietScene) ask() {
	q.ss.server.mu.Lock()
	defer q.ss.server.mu.Unlock()
	q.ss.ledger.request(nil, request{typeURL: clusterType})
}

func TestAServerThatDoesNotAnswerIsLeft(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		leaves bool
		play   func(q *quietScene, stop func())
	}{
		"silent":              {leaves: true, play: func(q *quietScene, _ func()) { q.ask() }},
		"asked a bit late":    {leaves: true, play: func(q *quietScene, _ func()) { time.Sleep(defaultFirstPatience - 1); q.ask() }},
		"asked late":          {leaves: true, play: func(q *quietScene, _ func()) { time.Sleep(time.Minute); q.ask() }},
		"asked very late":     {leaves: true, play: func(q *quietScene, _ func()) { time.Sleep(time.Hour); q.ask() }},
		"not asked":           {play: func(*quietScene, func()) {}},
		"answered":            {play: func(q *quietScene, _ func()) { q.ask(); q.heard.Store(true) }},
		"left for its end":    {play: func(q *quietScene, _ func()) { q.ask(); q.epoch.Add(1) }},
		"the stream has gone": {play: func(q *quietScene, stop func()) { q.ask(); stop() }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var q quietScene
				start := time.Now()
				s, err := New(Config{
					PeerPID: func() int { return 0 }, Upstream: neverAsked{}, Epoch: q.epoch.Load,
					Leave: func(string) { q.left = append(q.left, time.Since(start)) },
				}, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				q.ss = newSession(s, nil)
				q.ss.ledger.connect(1)
				stop := q.ss.awaitAnswer(q.epoch.Load(), &q.heard)
				tt.play(&q, stop)
				asked := time.Since(start)
				time.Sleep(10 * time.Minute)
				stop()
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				switch {
				case !tt.leaves && len(q.left) > 0:
					t.Errorf("left at %s", q.left)
				case tt.leaves && (len(q.left) != 1 || q.left[0] < asked+defaultFirstPatience || q.left[0] > asked+2*defaultFirstPatience):
					t.Errorf("asked after %s, left at %s", asked, q.left)
				}
				if grown := s.patience > defaultFirstPatience; grown != tt.leaves {
					t.Errorf("the next server has %s", s.patience)
				}
			})
		})
	}
}

// TestSilentServersAreLeftLessAndLess: the same way through streams, until one
// answers.
func TestSilentServersAreLeftLessAndLess(t *testing.T) {
	t.Parallel()
	const first = 20 * time.Millisecond
	server := newConsul(t)
	var (
		epoch   atomic.Uint64
		proxied atomic.Pointer[Server]
		had     []time.Duration // what the next server has, as each one is left; guarded by the Server's mu
	)
	changed := make(chan struct{}, 1)
	p := startProxy(t, Config{
		Upstream: server.conn, Epoch: epoch.Load, FirstPatience: first,
		Changed: func() <-chan struct{} { return changed },
		Leave: func(string) {
			had = append(had, proxied.Load().patience)
			epoch.Add(1)
			changed <- struct{}{}
		},
	})
	proxied.Store(p.server)
	e := p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	const silent = 5
	for range silent {
		up := server.next()
		up.receive()
		<-up.stream.Context().Done()
	}
	up := server.next()
	up.receive()
	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "1"})
	e.receive()
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	if want := []time.Duration{2 * first, 4 * first, 8 * first, 16 * first, 32 * first}; !slices.Equal(had, want) {
		t.Errorf("the servers after those that were left had %s to answer, not %s", had, want)
	}
	if got := p.server.patience; got != first {
		t.Errorf("after an answer, the next server has %s", got)
	}
}
