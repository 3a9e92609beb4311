// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"podplane/control"
	"podplane/integration/mesh"
	"podplane/integration/proc"
	"podplane/lifecycle"
)

// testRejectedConfiguration has Envoy refuse its first listeners. It goes LIVE all
// the same; the pod is not ready.
func testRejectedConfiguration(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx := bounded(t)
	pod, err := m.Start(ctx, mesh.PodSpec{Name: "rejected", ProxyConfig: map[string]any{
		"envoy_public_listener_json": `{
			"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "public_listener:0.0.0.0:1",
			"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
			"filter_chains": [{"filters": [{"name": "no.such.filter"}]}]}`,
	}})
	must(t, err)
	var state lifecycle.ReadyState
	within(t, patience, "the rejection is told", func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, "http://"+pod.Lifecycle+"/ready")
		if err != nil || answer.Status == http.StatusOK {
			return false
		}
		state = lifecycle.ReadyState{}
		must(t, json.Unmarshal([]byte(answer.Body), &state))
		return len(state.Pending) == 1 && strings.Contains(state.Pending[0].LastError, "registered implementation")
	})
	if state.Ready || state.Pending[0].Task != "envoy configuration" {
		t.Errorf("/ready tells %+v", state)
	}
	if live, err := mesh.Get(ctx, "http://"+pod.Admin+"/ready"); err != nil || live.Body != "LIVE" {
		t.Errorf("envoy is %v (%v)", live, err)
	}
	must(t, pod.Dataplane().Stop(patience))
}

// testStatus looks for all that operators look for, and for what they must not
// find.
func testStatus(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx := bounded(t)
	pod := startReady(ctx, t, m, mesh.PodSpec{
		Name: "told", ProxyConfig: map[string]any{"envoy_prometheus_bind_addr": "127.0.0.1:0"},
	})
	type document struct {
		Podplane struct {
			Version, Revision, Go, Mode string
			Uptime                      *int      `json:"uptime_seconds"`
			ProxyID                     string    `json:"proxy_id"`
			Started                     time.Time `json:"started"`
		}
		Lifecycle struct{ State string }
		Readiness struct{ Ready bool }
		Consul    struct {
			Connected  bool
			Server     string
			Since      time.Time
			TokenSince time.Time `json:"token_since"`
		}
		XDS struct {
			EnvoyConnected    bool `json:"envoy_connected"`
			UpstreamConnected bool `json:"upstream_connected"`
			Types             map[string]struct {
				Resources int
				LastACK   time.Time `json:"last_ack"`
			}
		}
		Envoy struct {
			PID       int
			State     string
			Version   string
			Restarts  *int
			Listeners []struct{ Name, Address string }
			Clusters  []struct {
				Name    string
				Healthy int
			}
			Certificates []struct {
				NotAfter time.Time `json:"not_after"`
				URIs     []string
			}
		}
		Metrics json.RawMessage
	}
	answer, err := mesh.Get(ctx, "http://"+pod.Lifecycle+"/status")
	must(t, err)
	var got document
	must(t, json.Unmarshal([]byte(answer.Body), &got))
	healthy := 0
	for _, c := range got.Envoy.Clusters {
		if strings.HasPrefix(c.Name, "backend.") {
			healthy += c.Healthy
		}
	}
	ours := false
	for _, c := range got.Envoy.Certificates {
		for _, uri := range c.URIs {
			ours = ours || (strings.HasSuffix(uri, "/svc/told") && c.NotAfter.After(time.Now()))
		}
	}
	for what, ok := range map[string]bool{
		"podplane":    got.Podplane.Version != "" && got.Podplane.Go != "" && got.Podplane.Uptime != nil && got.Podplane.ProxyID == "told-sidecar-proxy" && !got.Podplane.Started.IsZero(),
		"lifecycle":   got.Lifecycle.State == "running" && got.Readiness.Ready,
		"server":      got.Consul.Connected && got.Consul.Server != "" && !got.Consul.Since.IsZero(),
		"token":       !got.Consul.TokenSince.IsZero(),
		"xds":         got.XDS.EnvoyConnected && got.XDS.UpstreamConnected,
		"clusters":    got.XDS.Types["Cluster"].Resources >= 2 && !got.XDS.Types["Cluster"].LastACK.IsZero(),
		"listeners":   got.XDS.Types["Listener"].Resources >= 2 && len(got.Envoy.Listeners) >= 2,
		"envoy":       got.Envoy.PID > 0 && got.Envoy.State == "live" && got.Envoy.Version != "" && got.Envoy.Restarts != nil,
		"endpoints":   healthy == 1,
		"certificate": ours,
		"metrics":     strings.Contains(string(got.Metrics), `"envoy"`),
	} {
		if !ok {
			t.Errorf("%s is not told: %s", what, answer.Body)
		}
	}
	page, err := browse(ctx, "http://"+pod.Lifecycle+"/status")
	must(t, err)
	if !strings.Contains(page, "<h2>envoy</h2>") || !strings.Contains(page, "told-sidecar-proxy") {
		t.Errorf("the page is %s", page)
	}
	bearer, err := os.ReadFile(pod.BearerPath())
	must(t, err)
	for _, secret := range []string{string(bearer), "PRIVATE KEY", "secret_id"} {
		if strings.Contains(answer.Body+page, secret) {
			t.Errorf("%q is in the status", secret)
		}
	}
	must(t, pod.Dataplane().Stop(patience))
}

// browse gets a page as a browser does.
func browse(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var page strings.Builder
	err = resp.Write(&page)
	return page.String(), err
}

// subcommand starts podplane as an image without a shell would, with the address
// from the environment.
func subcommand(t *testing.T, pod *mesh.Pod, args ...string) *proc.Process {
	t.Helper()
	_, port, _ := strings.Cut(pod.Lifecycle, ":")
	p, err := proc.Start(proc.Spec{
		Name: "podplane " + args[0], Args: append([]string{podplane}, args...),
		Env: []string{"PATH=" + os.Getenv("PATH"), "DP_GRACEFUL_PORT=" + port},
	})
	must(t, err)
	t.Cleanup(p.Kill)
	return p
}

// expectOutcome waits for the end of a subcommand.
func expectOutcome(t *testing.T, p *proc.Process, code int, says string) {
	t.Helper()
	if got := p.ExitCode(); got != code || !strings.Contains(p.Output(), says) {
		t.Errorf("code %d, want %d and %q; output: %s", got, code, says, p.Output())
	}
}

func testCommands(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	t.Run("a job without curl", func(t *testing.T) {
		ctx := bounded(t)
		pod, err := m.Prepare(mesh.PodSpec{Name: "job-exec", Upstreams: []string{"backend"}, Args: grace(30 * time.Second)})
		must(t, err, pod.Register(ctx))
		self, err := os.Executable()
		must(t, err)
		job := subcommand(t, pod, "exec", "--timeout", "50s", "--",
			"env", getVar+"="+pod.Upstream("backend", "/job"), self)
		expectOutcome(t, subcommand(t, pod, "wait", "-timeout", "100ms"), 1, "connection refused") // the proxy comes later
		must(t, pod.StartDataplane(ctx))
		expectOutcome(t, job, 0, mesh.Greeting("backend")+", /job")
		ended := time.Now()
		if expectExit(t, pod, 0); late(t, time.Since(ended), 500*time.Millisecond) {
			t.Errorf("the dataplane ended %s after the job", time.Since(ended))
		}
	})
	t.Run("exit code and signals", func(t *testing.T) {
		ctx := bounded(t)
		pod := startReady(ctx, t, m, mesh.PodSpec{Name: "job-signal", Args: grace(30 * time.Second)})
		job := subcommand(t, pod, "exec", "--", "sh", "-c", `trap "exit 42" TERM; echo runs; while :; do sleep 0.01; done`)
		within(t, patience, "the command runs", func(context.Context) bool { return strings.Contains(job.Output(), "runs") })
		must(t, job.Signal(syscall.SIGTERM))
		expectOutcome(t, job, 42, "")
		expectExit(t, pod, 0)
	})
	t.Run("never ready", func(t *testing.T) {
		ctx := bounded(t)
		pod, err := m.Prepare(mesh.PodSpec{Name: "never-ready"})
		must(t, err, pod.StartDataplane(ctx)) // it is not registered
		expectLine(t, pod, "waiting for the proxy to be registered")
		expectOutcome(t, subcommand(t, pod, "wait", "-timeout", "100ms"), 1, "it waits for envoy configuration, envoy live")
		expectOutcome(t, subcommand(t, pod, "exec", "-timeout", "100ms", "--", "echo", "ran"), control.ExitNotRun, "not ready")
		expectOutcome(t, subcommand(t, pod, "quit"), 0, `"stopped"`)
		expectExit(t, pod, 0)
	})
	t.Run("the others", func(t *testing.T) { testOtherCommands(t, m) })
}

func testOtherCommands(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx := bounded(t)
	pod := startReady(ctx, t, m, mesh.PodSpec{
		Name: "commanded", Args: grace(30*time.Second, "--", "--component-log-level", "upstream:error"),
	})
	expectOutcome(t, subcommand(t, pod, "wait"), 0, "")
	expectOutcome(t, subcommand(t, pod, "status"), 0, "commanded-sidecar-proxy")
	levels := func() string {
		answer, err := mesh.Post(ctx, "http://"+pod.Admin+"/logging")
		must(t, err)
		return answer.Body
	}
	usual := levels()
	if !strings.Contains(usual, "upstream: error") || !strings.Contains(usual, "admin: info") {
		t.Fatalf("the usual levels are %s", usual)
	}
	expectOutcome(t, subcommand(t, pod, "loglevel", "debug", "--for", "2s"), 0, `"debug"`)
	if got := levels(); !strings.Contains(got, "upstream: debug") || !strings.Contains(got, "admin: debug") {
		t.Errorf("the levels are %s", got)
	}
	within(t, 3*time.Second, "the usual levels are back", func(context.Context) bool { return levels() == usual })
	expectOutcome(t, subcommand(t, pod, "loglevel", "loud"), 1, "level must be")

	_, port, _ := strings.Cut(pod.Admin, ":")
	expectOutcome(t, subcommand(t, pod, "-check-proxy-health", "-envoy-admin-bind-port", port), 0, "envoy is LIVE\n")
	began := time.Now()
	expectOutcome(t, subcommand(t, pod, "drain"), 0, `"stopped"`)
	if took := time.Since(began); late(t, took, 2*time.Second) {
		t.Errorf("an idle pod was drained in %s", took)
	}
	expectExit(t, pod, 0)
	expectOutcome(t, subcommand(t, pod, "status"), 1, "connection refused")
	expectOutcome(t, subcommand(t, pod, "-check-proxy-health", "-envoy-admin-bind-port", port), 1, "connection refused")
}
