// SPDX-License-Identifier: MPL-2.0

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"podplane/integration/logtest"
	"podplane/integration/standin/ads/adstest"
	"podplane/integration/standin/server"
)

// program is a stand-in that runs inside the test.
type program struct {
	tb     testing.TB
	admin  string // URL of the admin endpoint
	cancel context.CancelFunc
	code   chan int
	log    *logtest.Buffer
}

// run gives a whole run's exit code and output.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs logtest.Buffer
	code = server.Main(t.Context(), server.Process{Args: args, Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

// start runs a program until the test ends and waits for its admin endpoint.
func start(t *testing.T, config string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &program{tb: t, cancel: cancel, code: make(chan int, 1), log: &logtest.Buffer{}}
	address := filepath.Join(t.TempDir(), "admin")
	args := []string{"-c", config, "--disable-hot-restart", "--admin-address-path", address, "-l", "debug"}
	go func() {
		p.code <- server.Main(ctx, server.Process{Args: args, Stdout: io.Discard, Stderr: p.log})
	}()
	t.Cleanup(func() {
		cancel()
		p.exit()
		http.DefaultClient.CloseIdleConnections()
	})
	p.eventually(func() bool {
		text, err := os.ReadFile(address)
		p.admin = "http://" + string(text)
		return err == nil && len(text) > 0
	}, "the admin endpoint")
	return p
}

// eventually asks again and again, for ten seconds at most.
func (p *program) eventually(ok func() bool, what string) {
	p.tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			p.tb.Fatalf("waited too long for %s; log:\n%s", what, p.log)
		}
	}
}

// exit waits for the end, which must be a clean one.
func (p *program) exit() {
	p.tb.Helper()
	select {
	case code := <-p.code:
		p.code <- code
		if code != 0 {
			p.tb.Errorf("exit code %d, want 0; log:\n%s", code, p.log)
		}
	case <-time.After(10 * time.Second):
		p.tb.Errorf("it does not end; log:\n%s", p.log)
	}
}

func (p *program) do(method, path string) (int, string) {
	p.tb.Helper()
	req, err := http.NewRequest(method, p.admin+path, nil)
	if err != nil {
		p.tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.tb.Fatalf("%s %s: %v; log:\n%s", method, path, err, p.log)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.tb.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// becomes waits for a state.
func (p *program) becomes(state string) {
	p.tb.Helper()
	p.eventually(func() bool {
		_, body := p.do(http.MethodGet, "/ready")
		return body == state+"\n"
	}, state)
}

// controlPlane listens on an abstract or file socket for a scripted server.
func controlPlane(t *testing.T) (*adstest.Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xds")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return adstest.Start(t, l), path
}

// dynamic is a bootstrap like the one that podplane writes.
func dynamic(xds string) map[string]any {
	source := map[string]any{"ads": map[string]any{}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
	return map[string]any{
		"node":  map[string]any{"id": "web-sidecar-proxy", "cluster": "web", "metadata": map[string]any{"node_name": "n1"}},
		"admin": map[string]any{"address": loopback(0)},
		"static_resources": map[string]any{"clusters": []any{map[string]any{
			"name": "consul-dataplane", "type": "STATIC", "connect_timeout": "1s",
			"load_assignment": map[string]any{"cluster_name": "consul-dataplane", "endpoints": []any{map[string]any{
				"lb_endpoints": []any{map[string]any{"endpoint": map[string]any{"address": map[string]any{"pipe": map[string]any{"path": xds}}}}},
			}}},
		}}},
		"dynamic_resources": map[string]any{
			"cds_config": source, "lds_config": source,
			"ads_config": map[string]any{
				"api_type": "DELTA_GRPC", "transport_api_version": "V3",
				"grpc_services": []any{map[string]any{
					"envoy_grpc":       map[string]any{"cluster_name": "consul-dataplane"},
					"initial_metadata": []any{map[string]any{"key": "x-secret", "value": "s"}},
				}},
			},
		},
	}
}

func loopback(port int) map[string]any {
	return map[string]any{"socket_address": map[string]any{"address": "127.0.0.1", "port_value": port}}
}

func writeConfig(t *testing.T, config map[string]any) string {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandsThatEndAtOnce(t *testing.T) {
	t.Parallel()
	valid := writeConfig(t, dynamic("@nowhere"))
	with := func(change func(map[string]any)) string {
		config := dynamic("@nowhere")
		change(config)
		return writeConfig(t, config)
	}
	ads := func(config map[string]any) map[string]any {
		return config["dynamic_resources"].(map[string]any)["ads_config"].(map[string]any)
	}
	tests := map[string]struct {
		args []string
		code int
		want string // on either output
	}{
		"version":         {[]string{"--version"}, 0, "envoy  version: podplane-stand-in/1.35.9/"},
		"help":            {[]string{"--help"}, 0, "--config-path"},
		"hot restart":     {[]string{"--hot-restart-version"}, 0, "."},
		"bad argument":    {[]string{"--nonsense"}, 1, "PARSE ERROR: Argument: --nonsense"},
		"no config":       {nil, 1, "At least one of --config-path or --config-yaml"},
		"log path":        {[]string{"-c", valid, "--log-path", "/nowhere/x"}, 1, "failed to open log-file '/nowhere/x'"},
		"missing file":    {[]string{"-c", "/nowhere/b.json"}, 1, "unable to read file: /nowhere/b.json"},
		"forbidden path":  {[]string{"-c", "/dev/null"}, 1, "Invalid path: /dev/null"},
		"validate":        {[]string{"-c", valid, "--mode", "validate"}, 0, "configuration '" + valid + "' OK"},
		"unknown field":   {[]string{"--config-yaml", `{"nodes": 1}`}, 1, "has unknown fields"},
		"no node":         {[]string{"-c", with(func(c map[string]any) { delete(c, "node") })}, 1, "node 'id' and 'cluster' are required"},
		"SotW":            {[]string{"-c", with(func(c map[string]any) { ads(c)["api_type"] = "GRPC" })}, 1, "api_type GRPC is not supported"},
		"two services":    {[]string{"-c", with(func(c map[string]any) { ads(c)["grpc_services"] = []any{} })}, 1, "exactly one envoy_grpc service"},
		"no ads_config":   {[]string{"-c", with(func(c map[string]any) { delete(c["dynamic_resources"].(map[string]any), "ads_config") })}, 1, "there is no ads_config"},
		"no such cluster": {[]string{"-c", with(func(c map[string]any) { delete(c, "static_resources") })}, 1, "unknown gRPC client cluster 'consul-dataplane'"},
		"not by ADS": {[]string{"--mode", "validate", "-c", with(func(c map[string]any) {
			c["dynamic_resources"].(map[string]any)["cds_config"] = map[string]any{"path": "/x"}
		})}, 1, "cds_config: only ads is supported"},
		"API version": {[]string{"--mode", "validate", "-c", with(func(c map[string]any) {
			c["dynamic_resources"].(map[string]any)["lds_config"] = map[string]any{"ads": map[string]any{}}
		})}, 1, "lds_config: resource_api_version AUTO is not supported"},
		"access log": {[]string{"-c", with(func(c map[string]any) {
			c["admin"].(map[string]any)["access_log"] = []any{map[string]any{"name": "f", "typed_config": map[string]any{
				"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/nowhere/log",
			}}}
		})}, 1, "unable to open file '/nowhere/log'"},
		"node by argument": {[]string{"--mode", "validate", "--service-node", "a", "--service-cluster", "b", "--service-zone", "z", "-c", with(func(c map[string]any) { delete(c, "node") })}, 0, "OK"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--disable-hot-restart"}, tc.args...)
			code, stdout, stderr := run(t, args...)
			if code != tc.code || !strings.Contains(stdout+stderr, tc.want) {
				t.Errorf("exit %d, output %q %q; want %d and %q", code, stdout, stderr, tc.code, tc.want)
			}
		})
	}
}

func TestAdminPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config := dynamic("@nowhere")
	config["admin"] = map[string]any{"address": loopback(l.Addr().(*net.TCPAddr).Port)}
	code, _, stderr := run(t, "-c", writeConfig(t, config), "--disable-hot-restart")
	if code != 1 || !strings.Contains(stderr, "cannot bind '"+l.Addr().String()+"': address already in use") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestBaseIDTaken(t *testing.T) {
	t.Parallel()
	// Hot restart is on: the second process with the same base ID is refused.
	id := fmt.Sprint(os.Getpid() % 100000)
	socket := "@podplane_test_" + id
	l, err := net.Listen("unix", fmt.Sprintf("%s_parent_%d", socket, os.Getpid()%100000*10))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := run(t, "-c", writeConfig(t, dynamic("@nowhere")), "--base-id", id, "--socket-path", socket)
	if code != 1 || !strings.Contains(stderr, "(see --base-id option)") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestStaticOnlyIsLiveAtOnce(t *testing.T) {
	t.Parallel()
	logs := filepath.Join(t.TempDir(), "access.log")
	config := map[string]any{
		"admin": map[string]any{"address": loopback(0), "access_log": []any{
			map[string]any{"name": "f", "typed_config": map[string]any{
				"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": logs,
				"log_format": map[string]any{"text_format_source": map[string]any{"inline_string": "x"}},
			}},
		}},
		"stats_sinks": []any{map[string]any{"name": "envoy.stat_sinks.statsd", "typed_config": map[string]any{
			"@type": "type.googleapis.com/envoy.config.metrics.v3.StatsdSink", "address": loopback(8125),
		}}},
	}
	p := start(t, writeConfig(t, config))
	p.becomes("LIVE")
	if _, body := p.do(http.MethodGet, "/server_info"); !strings.Contains(body, `"user_agent_name": "envoy"`) {
		t.Errorf("server_info = %s", body)
	}
	if _, body := p.do(http.MethodGet, "/stats"); !strings.Contains(body, "server.state: 0\n") || !strings.Contains(body, "server.live: 1\n") {
		t.Errorf("stats = %s", body)
	}
	p.do(http.MethodPost, "/healthcheck/fail")
	p.becomes("DRAINING")
	if _, body := p.do(http.MethodGet, "/stats?filter=^server.(live|state)$"); body != "server.live: 0\nserver.state: 1\n" {
		t.Errorf("stats = %q", body)
	}
	p.do(http.MethodPost, "/healthcheck/ok")
	p.becomes("LIVE")
	for _, part := range []string{"stats_sinks envoy.stat_sinks.statsd", "admin access log in the default format"} {
		if !strings.Contains(p.log.String(), part) {
			t.Errorf("the log does not say %q", part)
		}
	}
	if text, err := os.ReadFile(logs); err != nil || !bytes.Contains(text, []byte("GET /ready")) {
		t.Errorf("access log = %q, %v", text, err)
	}
	if code, body := p.do(http.MethodPost, "/quitquitquit"); code != 200 || body != "OK\n" {
		t.Errorf("quit = %d %q", code, body)
	}
	p.exit()
}

func TestInitOnly(t *testing.T) {
	t.Parallel()
	code, _, stderr := run(t, "--config-yaml", "{}", "--mode", "init_only", "--disable-hot-restart")
	if code != 0 || !slices.Contains(strings.Split(stderr, "\n"), "") || !strings.Contains(stderr, "all dependencies initialized") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
