// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// TestFrozenLeader stops the leader with SIGSTOP, and a proxy comes to a follower
// that knows of no other leader yet. That one asks the leader for the proxy's
// certificate, waits for it, and says nothing on the stream: measured, for 35
// seconds, though it led the cluster itself after two. A third server answers.
func TestFrozenLeader(t *testing.T) {
	t.Parallel()
	const limit = 25 * time.Second // of which up to 10 for an answer that does not come; 5 to 17 measured
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	options := three
	options.Config = maps.Clone(three.Config)
	options.Config["performance"] = map[string]any{"enable_xds_load_balancing": false}
	m := newMesh(t, options)
	consul := m.Consul
	leader, followers := roles(ctx, t, consul)
	// A proxy that tried the leader first would come to a follower late enough.
	addresses := fmt.Sprintf("exec=echo %s %s", consul.Addresses()[followers[0]], consul.Addresses()[followers[1]])
	pod, err := m.Start(ctx, mesh.PodSpec{
		Name: "web", Upstreams: []string{canary}, Args: []string{"-addresses", addresses, "-server-watch-disabled"},
	})
	must(t, err, pod.WaitReady(ctx))
	lost := serverOf(ctx, t, consul, pod)
	other := followers[0] + followers[1] - lost
	epoch := session(ctx, t, pod).Epoch

	frozen := time.Now()
	must(t, consul.Pause(leader))
	consul.Kill(lost)
	within(t, patience, "web has a stream to the other follower", hasMoved(pod, epoch))
	must(t, consul.Launch(lost))
	client := consul.ClientAt(other, consul.Token())
	within(t, patience, "there is another leader", func(ctx context.Context) bool {
		now, err := leaderOf(ctx, consul, client)
		return err == nil && now >= 0 && now != leader
	})
	t.Logf("another server leads after %s", time.Since(frozen).Round(time.Millisecond))
	within(t, patience, "a change reaches the envoy", has(pod, change(ctx, t, func() *consultest.Client { return client })))
	took := time.Since(frozen)
	t.Logf("a third server serves after %s", took.Round(time.Millisecond))
	if late(t, took, limit) {
		t.Errorf("a third server serves after %s, later than %s", took, limit)
	}
	must(t, consul.Resume(leader))
	expectStreamKept(ctx, t, pod)
}

// TestFrozenLeaderInUse stops the leader that proxies use, in a cluster that takes
// as long to elect another one as Consul does unless told otherwise. Proxies leave
// it before that and after; the first ones come to servers that know of no leader.
func TestFrozenLeaderInUse(t *testing.T) {
	t.Parallel()
	const (
		limit   = 30 * time.Second // 12 to leave it, 10 for one that does not answer, and time to find the next
		proxies = 3
	)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	options := three
	options.Config = maps.Clone(three.Config)
	options.Config["performance"] = map[string]any{"enable_xds_load_balancing": false, "raft_multiplier": 5}
	m := newMesh(t, options)
	consul := m.Consul
	leader, followers := roles(ctx, t, consul)
	var pods []*mesh.Pod
	for i := range proxies {
		pod, err := m.Start(ctx, mesh.PodSpec{
			Name: fmt.Sprintf("web-%d", i), Upstreams: []string{canary},
			Args: []string{"-addresses", consul.Addresses()[leader]}, // the others are told of by this one
		})
		must(t, err, pod.WaitReady(ctx))
		if n := serverOf(ctx, t, consul, pod); n != leader {
			t.Fatalf("%s uses server %d, not the leader %d", pod.Service.Name, n, leader)
		}
		pods = append(pods, pod)
	}
	frozen := time.Now()
	must(t, consul.Pause(leader))
	client := consul.ClientAt(followers[0], consul.Token())
	within(t, patience, "there is another leader", func(ctx context.Context) bool {
		now, err := leaderOf(ctx, consul, client)
		return err == nil && now >= 0 && now != leader
	})
	t.Logf("another server leads after %s", time.Since(frozen).Round(time.Millisecond))
	what := change(ctx, t, func() *consultest.Client { return client })
	for _, pod := range pods {
		within(t, patience, "a change reaches the envoy of "+pod.Service.Name, has(pod, what))
	}
	took := time.Since(frozen)
	t.Logf("all are served after %s", took.Round(time.Millisecond))
	if late(t, took, limit) {
		t.Errorf("all are served after %s, later than %s", took, limit)
	}
	must(t, consul.Resume(leader))
	for _, pod := range pods {
		expectStreamKept(ctx, t, pod)
	}
}

// roles gives the number of the server that leads, and those of the two others.
func roles(ctx context.Context, t *testing.T, consul *consultest.Cluster) (leader int, followers []int) {
	t.Helper()
	leader, err := leaderOf(ctx, consul, consul.Client())
	must(t, err)
	for i := range consul.Servers() {
		if i != leader {
			followers = append(followers, i)
		}
	}
	return leader, followers
}

// leaderOf gives the number of the server that leads according to who is asked, -1
// where that one knows of none.
func leaderOf(ctx context.Context, consul *consultest.Cluster, client *consultest.Client) (int, error) {
	var leader string
	if err := client.Get(ctx, "/v1/status/leader", &leader); err != nil {
		return -1, err
	}
	for i, address := range consul.Addresses() {
		if strings.HasPrefix(leader, address+":") {
			return i, nil
		}
	}
	return -1, nil
}
