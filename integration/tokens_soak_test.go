// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"os"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// soakVar names the environment variable that lets tests run which take many
// minutes; see the Makefile.
const soakVar = "PODPLANE_SOAK"

func soak(t *testing.T) {
	t.Helper()
	if os.Getenv(soakVar) == "" {
		t.Skip("takes minutes, run `make soak`")
	}
	t.Parallel()
}

// TestSoakTokens deletes the token in use fifty times; none may be left behind.
func TestSoakTokens(t *testing.T) {
	soak(t)
	const cycles = 50
	ctx, cancel := context.WithTimeout(t.Context(), cycles*patience)
	defer cancel()
	m := newMesh(t, three)
	from, to := startPair(ctx, t, m, "")
	requests := startLoad(t, from)
	for range cycles {
		expectReplaced(ctx, t, m, from)
	}
	expectChange(ctx, t, m.Consul.Client, recovery, from)
	requests.expectNoFailure(t)
	expectStreamKept(ctx, t, from)
	expectTokens(ctx, t, m.Consul.Client(), 2)
	must(t, from.Dataplane().Stop(patience), to.Dataplane().Stop(patience))
	expectTokens(ctx, t, m.Consul.Client(), 0)
}

// TestSoakExpiry lets tokens expire, which takes a minute at Consul's least.
func TestSoakExpiry(t *testing.T) {
	soak(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	options := three
	options.TokenTTL = time.Minute
	m := newMesh(t, options)
	from, _ := startPair(ctx, t, m, "")
	unwatched, err := m.Start(ctx, mesh.PodSpec{
		Name: "unwatched", Upstreams: []string{canary}, Args: []string{"-server-watch-disabled"},
	})
	must(t, err, unwatched.WaitReady(ctx))
	requests := startLoad(t, from)
	for range 3 {
		for _, pod := range []*mesh.Pod{from, unwatched} {
			expectExpiry(ctx, t, m.Consul, pod, options.TokenTTL)
		}
	}
	requests.expectNoFailure(t)
	expectStreamKept(ctx, t, from)
	expectStreamKept(ctx, t, unwatched)
}

// expectExpiry waits for the end of a pod's token, and that another one and a
// change come soon after.
func expectExpiry(ctx context.Context, t *testing.T, consul *consultest.Cluster, pod *mesh.Pod, ttl time.Duration) {
	t.Helper()
	st := session(ctx, t, pod)
	end := st.TokenSince.Add(ttl)
	must(t, mesh.Until(ctx, hasToken(pod, st.TokenAccessor)))
	within(t, recovery, "a change arrives", has(pod, change(ctx, t, consul.Client)))
	late := time.Since(end)
	t.Logf("%s: recovered %s after its token expired", pod.Service.Name, late.Round(time.Millisecond))
	if late > recovery {
		t.Errorf("%s: recovered %s after its token expired, later than %s", pod.Service.Name, late, recovery)
	}
}
