// SPDX-License-Identifier: MPL-2.0

package envoyend

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/control"
	"podplane/integration/bench/scrapeend"
)

func TestMeasures(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	envoy, _, _ := b.start(t)
	ctx := bounded(t)
	_, err := envoy.Await(ctx, EventLive)
	must(t, err)
	for _, direct := range []string{"", b.addr} {
		var times Times
		must(t, envoy.Call(ctx, CommandThroughput, Load{Direct: direct, Count: 100, Size: 1000, Within: patience}, &times))
		if times.Took <= 0 {
			t.Errorf("direct %q: 100 messages took %d ns", direct, times.Took)
		}
		must(t, envoy.Call(ctx, CommandRoundTrips, Load{Direct: direct, Count: 10, Size: 1000, Within: patience}, &times))
		if len(times.Trips) != 10 {
			t.Errorf("direct %q: %d of 10 round trips", direct, len(times.Trips))
		}
		for _, trip := range times.Trips {
			if trip <= 0 {
				t.Errorf("direct %q: a round trip took %d ns", direct, trip)
			}
		}
	}
	var streams int
	must(t, b.server.Call(ctx, consulend.CommandStreams, struct{}{}, &streams))
	if streams != 2 {
		t.Errorf("%d streams, want the proxied and the direct one", streams)
	}
}

func TestUpdatesArrive(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	envoy, _, _ := b.start(t)
	ctx := bounded(t)
	_, err := envoy.Await(ctx, EventLive)
	must(t, err)
	before := control.Now()
	must(t, b.server.Call(ctx, consulend.CommandSet, consulend.Set{Name: "cluster-3", Version: "2"}, nil))
	var at int64
	must(t, envoy.Call(ctx, CommandAwait, Expect{Type: consulend.ClusterType, Name: "cluster-3", Version: "2", Within: patience}, &at))
	if at < before || at > control.Now() {
		t.Errorf("it came at %d, after %d", at, before)
	}
	update := consulend.Update{Count: 250, Size: 100, Names: 100}
	must(t, b.server.Call(ctx, consulend.CommandUpdate, update, nil))
	must(t, envoy.Call(ctx, CommandAwait,
		Expect{Type: consulend.ClusterType, Name: update.UpdateName(250), Version: "250", Within: patience}, nil))
	err = envoy.Call(ctx, CommandAwait, Expect{Type: consulend.ClusterType, Name: "cluster-3", Version: "9", Within: time.Millisecond}, nil)
	if err == nil || !strings.Contains(err.Error(), `has "2"`) {
		t.Errorf("a version that does not come: %v", err)
	}
	if err := b.server.Call(ctx, consulend.CommandUpdate, consulend.Update{Count: 1}, nil); err == nil {
		t.Error("updates without names are no error")
	}
}

// A stream that is cut is resumed: what has changed meanwhile comes, and nothing
// else would.
func TestStreamComesBack(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	envoy, _, _ := b.start(t)
	ctx := bounded(t)
	_, err := envoy.Await(ctx, EventLive)
	must(t, err)
	b.stop()
	b.serve(t)
	must(t, b.server.Call(ctx, consulend.CommandSet, consulend.Set{Name: "cluster-0", Version: "news"}, nil))
	must(t, envoy.Call(ctx, CommandAwait,
		Expect{Type: consulend.ClusterType, Name: "cluster-0", Version: "news", Within: patience}, nil))
	var times Times
	must(t, envoy.Call(ctx, CommandRoundTrips, Load{Count: 3, Size: 10, Within: patience}, &times))
	if len(times.Trips) != 3 {
		t.Errorf("%d of 3 round trips after the loss", len(times.Trips))
	}
}

// What is measured while the stream is cut, or does not come, ends.
func TestMeasuringEnds(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	envoy, _, _ := b.start(t)
	ctx := bounded(t)
	_, err := envoy.Await(ctx, EventLive)
	must(t, err)
	endless := Load{Count: 1 << 30, Size: 1, Within: 50 * time.Millisecond}
	if err := envoy.Call(ctx, CommandRoundTrips, endless, nil); err == nil || !strings.Contains(err.Error(), "responses came") {
		t.Errorf("more than there is time for: %v", err)
	}
	b.stop()
	lost := Load{Count: 1, Size: 1, Within: 50 * time.Millisecond}
	if err := envoy.Call(ctx, CommandThroughput, lost, nil); err == nil {
		t.Error("no server is no error")
	}
	nowhere := Load{Direct: b.addr, Count: 1, Size: 1, Within: 50 * time.Millisecond}
	if err := envoy.Call(ctx, CommandThroughput, nowhere, nil); err == nil {
		t.Error("no server to be connected with is no error")
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	envoy, admin, ended := b.start(t)
	_, err := envoy.Await(bounded(t), EventLive)
	must(t, err)
	tests := []struct {
		method, path, want string
	}{
		{http.MethodGet, "/ready", "LIVE"},
		{http.MethodGet, "/server_info", `"state": "LIVE"`},
		{http.MethodGet, "/stats?usedonly&filter=update_success", "cluster_manager.cds.update_success: 1"},
		{http.MethodGet, "/stats?filter=downstream", "http.public_listener.downstream_rq_active: 0"},
		{http.MethodGet, "/stats?filter=(", "error parsing regexp"},
		{http.MethodGet, "/certs", "certificates"},
		{http.MethodPost, "/drain_listeners?graceful", "OK"},
		{http.MethodPost, "/logging?level=debug", "OK"},
		{http.MethodGet, "/stats/prometheus", string(scrapeend.Envoy(100))},
		{http.MethodPost, "/quitquitquit", "OK"},
	}
	transport := &http.Transport{DisableKeepAlives: true}
	for _, tt := range tests {
		r, err := http.NewRequestWithContext(bounded(t), tt.method, "http://"+admin+tt.path, nil)
		must(t, err)
		response, err := (&http.Client{Transport: transport}).Do(r)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		must(t, err, response.Body.Close())
		if !strings.Contains(string(body), tt.want) {
			t.Errorf("%s %s: %.200q, want %.200q", tt.method, tt.path, body, tt.want)
		}
	}
	must(t, awaitEnd(t, ended))
}

func TestEndsWithTheBenchmark(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, _, ended := b.start(t)
	must(t, b.listener.Close())
	must(t, awaitEnd(t, ended))
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	admin := map[string]any{"socket_address": map[string]any{"address": "127.0.0.1", "port_value": 19000}}
	pipe := map[string]any{"pipe": map[string]any{"path": "@xds"}}
	good := bootstrapOf(t, admin, pipe)
	got, err := load([]string{"--concurrency 2", "--config-yaml", good, "--disable-hot-restart"})
	must(t, err)
	if got.admin != "127.0.0.1:19000" || got.target.network != "unix" || got.target.address != "@xds" {
		t.Errorf("admin %s, ads %s %s", got.admin, got.target.network, got.target.address)
	}
	if secret := got.target.metadata.Get("x-secret"); len(secret) != 1 || secret[0] != "s" || got.target.node.GetId() != "web-sidecar-proxy" {
		t.Errorf("metadata %v, node %v", got.target.metadata, got.target.node)
	}
	tests := map[string]struct{ from, to string }{
		"no cluster of that name": {`"cluster_name":"xds"},"initial`, `"cluster_name":"gone"},"initial`},
		"no service":              {`"grpc_services"`, `"rate_limit_settings":{},"not_known"`},
		"no endpoint":             {`"lb_endpoints"`, `"not_known"`},
		"no admin":                {`"admin"`, `"not_known"`},
		"no JSON":                 {`{`, ``},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := strings.Replace(good, tt.from, tt.to, 1)
			if broken == good {
				t.Fatal("nothing was broken")
			}
			if b, err := load([]string{"--config-yaml", broken}); err == nil {
				t.Errorf("no error, but %+v", b)
			}
		})
	}
	if _, err := load(nil); err == nil {
		t.Error("no bootstrap is no error")
	}
	if err := Run(t.Context(), []string{filepath.Join(t.TempDir(), Role)}); err == nil {
		t.Error("no benchmark is no error")
	}
}
