// SPDX-License-Identifier: MPL-2.0

package catalog

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	corev1 "k8s.io/api/core/v1"

	"podplane/integration/consultest"
)

// registrarScaleVar asks for the figures of the promise, as in integration/kube; otherwise fewer pods show what is right.
const registrarScaleVar = "PODPLANE_KUBE_SCALE"

// TestRegistrarScale registers many pods at once and deregisters some of them.
func TestRegistrarScale(t *testing.T) {
	full := os.Getenv(registrarScaleVar) != ""
	if !full {
		t.Parallel()
	}
	pods, gone := 200, 40
	if full {
		pods, gone = 5000, 1000
	}
	w := newCatalogWorld(t)
	const nodes = 20
	for i := range nodes {
		w.node(fmt.Sprintf("n%d", i))
	}
	w.sweep = 5 * time.Minute // as it is by default
	r := w.run()
	w.each(pods, func(ctx context.Context, i int) error {
		_, err := w.pod(ctx, fmt.Sprintf("pod-%d", i), fmt.Sprintf("n%d", i%nodes))
		return err
	})
	start := time.Now()
	w.each(pods, func(ctx context.Context, i int) error {
		return w.status(ctx, fmt.Sprintf("pod-%d", i), fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250), corev1.ConditionTrue)
	})
	t.Logf("%d pods have got their addresses after %s", pods, time.Since(start).Round(time.Millisecond))
	w.awaitCount(pods)
	took := time.Since(start)
	t.Logf("%d pods were registered in %s", pods, took.Round(time.Millisecond))
	if full && took > time.Minute {
		t.Error("that is more than a minute")
	}
	start = time.Now()
	w.each(gone, func(ctx context.Context, i int) error { return w.delete(ctx, fmt.Sprintf("pod-%d", i)) })
	w.awaitCount(pods - gone)
	took = time.Since(start)
	t.Logf("%d pods were deleted and deregistered in %s", gone, took.Round(time.Millisecond))
	if full && took > 15*time.Second {
		t.Error("that is more than 15 seconds")
	}
	if n := r.sum(t, "errors_total", ""); n > 0 {
		t.Errorf("%v errors on the way", n)
	}
}

// each calls do for the numbers below n, a few at a time.
func (w *catalogWorld) each(n int, do func(context.Context, int) error) {
	w.t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				if err := do(w.t.Context(), i); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func (w *catalogWorld) awaitCount(want int) {
	w.t.Helper()
	limit, tick := time.NewTimer(5*time.Minute), time.NewTicker(200*time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for w.instances() != 2*want {
		select {
		case <-limit.C:
			w.t.Fatalf("there are %d instances, not %d", w.instances(), 2*want)
		case <-tick.C:
		}
	}
	for _, service := range []string{"static-server", "static-server-sidecar-proxy"} {
		list, _, err := w.admin.Catalog().Service(service, "", &api.QueryOptions{RequireConsistent: true})
		if err != nil || len(list) != want {
			w.t.Errorf("%s has %d instances, not %d; %v", service, len(list), want, err)
		}
	}
}

// instances counts what is in the catalog, but for Consul itself. Consul keeps that number: lists of thousands, asked for
// again and again, would be most of its work.
func (w *catalogWorld) instances() int {
	w.t.Helper()
	usage, _, err := w.admin.Operator().Usage(&api.QueryOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return usage.Usage[consultest.Datacenter].ServiceInstances - 1
}
