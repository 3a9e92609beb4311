// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
	"podplane/integration/proc"
)

// symptom is a trouble of docs/troubleshooting.md that a test has made, with what must be seen then.
type symptom struct {
	fields []string // of /status
	lines  []string // messages of the log
}

// statuses are all answers of /status so far.
type statuses struct{ documents []map[string]any }

// expect waits until everything that belongs to a symptom is to be seen.
func (s *statuses) expect(t *testing.T, process *proc.Process, want symptom) {
	t.Helper()
	var last string
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := mesh.Until(ctx, func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, lifecycleURL+"/status")
		if err != nil {
			last = err.Error()
			return false
		}
		var document map[string]any
		must(t, json.Unmarshal([]byte(answer.Body), &document))
		for _, field := range want.fields {
			if !has(document, strings.Split(field, ".")) {
				last = "no " + field + " in " + answer.Body
				return false
			}
		}
		for _, line := range want.lines {
			if !strings.Contains(process.Output(), line) {
				last = "no line " + line
				return false
			}
		}
		s.documents = append(s.documents, document)
		return true
	})
	if err != nil {
		t.Fatal(last)
	}
}

// has tells whether a document has a field that says something. `<type>` stands for any key, and a list has what one
// of its elements has.
func has(v any, path []string) bool {
	if list, ok := v.([]any); ok && len(path) > 0 {
		for _, element := range list {
			if has(element, path) {
				return true
			}
		}
		return false
	}
	if len(path) == 0 {
		return v != nil
	}
	object, _ := v.(map[string]any)
	if strings.HasPrefix(path[0], "<") {
		for _, value := range object {
			if has(value, path[1:]) {
				return true
			}
		}
		return false
	}
	value, ok := object[path[0]]
	return ok && has(value, path[1:])
}

// TestSymptoms makes the troubles of docs/troubleshooting.md, and looks where the page says. Every field that any page
// names must have been seen then. It is not parallel: the ports are those of the text.
func TestSymptoms(t *testing.T) {
	if here == nil {
		t.Skip("podplane is run in a network of its own:", whyNot)
	}
	seen := &statuses{}
	t.Run("plain", func(t *testing.T) { plainSymptoms(t, seen) })
	t.Run("secure", func(t *testing.T) { secureSymptoms(t, seen) })
	if t.Failed() {
		return
	}
	for _, page := range commandPages(t) {
		if !strings.HasPrefix(page.Path, "docs/") || strings.HasPrefix(page.Path, "docs/reference/") {
			continue // they have keys of settings, which look alike
		}
		for field, line := range statusFields(page) {
			found := false
			for _, document := range seen.documents {
				found = found || has(document, strings.Split(field, "."))
			}
			if !found {
				t.Errorf("%s:%d: /status never has %s", page.Path, line, field)
			}
		}
	}
}

var statusField = regexp.MustCompile("`((?:consul|metrics|registration|xds|envoy|lifecycle|readiness)(?:\\.[a-z_]+|\\.<type>)+)`")

// statusFields are the fields of /status in a page's text, with their lines.
func statusFields(page Page) map[string]int {
	fields := map[string]int{}
	for i, line := range page.Prose() {
		for _, m := range statusField.FindAllStringSubmatch(line, -1) {
			if last := m[1][strings.LastIndex(m[1], ".")+1:]; last != "hcl" && last != "env" && last != "service" {
				fields[m[1]] = i + 1
			}
		}
	}
	return fields
}

// brokenCluster is configuration that Envoy refuses.
const brokenCluster = `{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "local_app", "connect_timeout": "-5s"}`

func plainSymptoms(t *testing.T, seen *statuses) {
	t.Helper()
	consul := consultest.New(t, consultest.Options{})
	relay(t, "127.0.0.1:8502", consul.GRPCAddr(0))
	application(t, appAddress)
	register(t, consul)
	place := here.place()
	t.Run("no server", func(t *testing.T) {
		process := start(t, place, "-addresses", "127.0.0.1", "-grpc-port", "1", "-tls-disabled", "-proxy-node-name", node, "-proxy-id", proxyID)
		seen.expect(t, process, symptom{[]string{"consul.waiting", "consul.last_error"}, []string{"waiting:", "for=", "servers=", "error="}})
	})
	t.Run("not registered", func(t *testing.T) {
		process := start(t, place, "-addresses", "127.0.0.1", "-tls-disabled", "-proxy-node-name", node, "-proxy-id", "nobody")
		seen.expect(t, process, symptom{[]string{"consul.bootstrap_error"}, []string{"waiting for the proxy to be registered"}})
	})
	t.Run("not registered by itself", func(t *testing.T) {
		process := start(t, place, "-addresses", "127.0.0.1", "-tls-disabled", "-proxy-node-name", "other-node", "-consul-http-port", "1",
			"-service-file", filepath.Join(here.Checkout, "deploy/systemd/service.hcl"))
		seen.expect(t, process, symptom{[]string{"registration.last_error", "registration.checks.status"}, []string{"cannot register the service, trying again"}})
	})
	t.Run("metrics, crash and end", func(t *testing.T) {
		process := startSidecar(t, place, "-telemetry-prom-service-metrics-url", "http://127.0.0.1:1/metrics")
		_, err := mesh.Get(t.Context(), metricsURL+"/stats/prometheus")
		must(t, err)
		seen.expect(t, process, symptom{[]string{"metrics.address", "metrics.sources.up", "metrics.sources.reason"}, []string{"metrics source fails"}})
		var envoy struct{ PID int }
		must(t, mesh.StatusOf(t.Context(), strings.TrimPrefix(lifecycleURL, "http://"), "envoy", &envoy))
		must(t, unix.Kill(envoy.PID, unix.SIGKILL))
		seen.expect(t, process, symptom{[]string{"envoy.restarts", "envoy.last_exit", "envoy.clusters.healthy"}, []string{"envoy crashed, restarting it"}})
		awaitReady(t, process)
		_, err = mesh.Post(t.Context(), lifecycleURL+"/graceful_shutdown")
		must(t, err)
		<-process.Done()
		for _, line := range []string{"shutdown begins", "nothing is in flight, the shutdown goes on", "proxy is gone"} {
			if !strings.Contains(process.Output(), line) {
				t.Errorf("no line %q", line)
			}
		}
	})
	t.Run("port of the metrics is taken", func(t *testing.T) {
		relay(t, "127.0.0.1:20100", "127.0.0.1:1")
		must(t, consul.Client().Register(t.Context(), consultest.Service{Name: "quiet", Node: node, Port: 8080, ProxyPort: 20000}))
		process := start(t, place, "-addresses", "127.0.0.1", "-tls-disabled", "-proxy-node-name", node, "-proxy-id", "quiet-sidecar-proxy")
		awaitReady(t, process)
		seen.expect(t, process, symptom{[]string{"metrics.error"}, []string{"own metrics are not served"}})
	})
	t.Run("rejected", func(t *testing.T) {
		must(t, consul.Client().Register(t.Context(), consultest.Service{
			Name: "broken", Node: node, Port: 8080, ProxyPort: 20000,
			ProxyConfig: map[string]any{"envoy_local_cluster_json": brokenCluster},
		}))
		process := start(t, place, "-addresses", "127.0.0.1", "-tls-disabled", "-proxy-node-name", node, "-proxy-id", "broken-sidecar-proxy")
		seen.expect(t, process, symptom{
			[]string{"xds.types.<type>.last_nack_reason", "xds.types.<type>.rejected"}, []string{"envoy rejected configuration"},
		})
	})
	t.Run("server lost", func(t *testing.T) {
		process := startSidecar(t, place)
		seen.expect(t, process, symptom{[]string{"envoy.certificates.not_after", "lifecycle.state"}, nil})
		consul.Kill(0)
		seen.expect(t, process, symptom{[]string{"xds.disconnected_since", "xds.upstream_connected"}, nil})
	})
}

func secureSymptoms(t *testing.T, seen *statuses) {
	t.Helper()
	consul := consultest.New(t, consultest.Options{TLS: true, ACL: true})
	relay(t, "127.0.0.1:8503", consul.GRPCAddr(0))
	register(t, consul)
	token, err := consul.Client().CreateServiceToken(t.Context(), "web")
	must(t, err)
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	pem, err := os.ReadFile(consul.CAFile())
	must(t, err)
	must(t, os.WriteFile(authorities, pem, 0o600))
	process := start(t, here.place("DP_CREDENTIAL_STATIC_TOKEN="+token.SecretID), "-addresses", "127.0.0.1", "-grpc-port", "8503",
		"-ca-certs", authorities, "-tls-server-name", consultest.ServerName, "-credential-type", "static",
		"-proxy-node-name", node, "-proxy-id", proxyID)
	awaitReady(t, process)
	must(t, os.WriteFile(authorities, []byte("nonsense"), 0o600))
	seen.expect(t, process, symptom{[]string{"consul.reload_error"}, []string{"changed files are not usable, going on with the old ones"}})
	must(t, consul.Client().Do(t.Context(), http.MethodDelete, "/v1/acl/token/"+token.AccessorID, nil, nil))
	seen.expect(t, process, symptom{[]string{"consul.refused.message", "consul.refused.count"}, []string{"waiting:"}})
	if strings.Contains(process.Output(), token.SecretID) {
		t.Error("the token is in the log")
	}
}
