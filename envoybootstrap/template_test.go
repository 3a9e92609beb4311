// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"strings"
	"testing"
)

// operatorsTemplate is written the way operators write them: every piece in its place in the bootstrap.
const operatorsTemplate = `{
  "admin": {
    {{- if .AdminAccessLogConfig }}
    "access_log": [{{ range $i, $log := .AdminAccessLogConfig }}{{ if $i }},{{ end }}{{ $log }}{{ end }}],
    {{- else }}
    "access_log_path": "{{ .AdminAccessLogPath }}",
    {{- end }}
    "address": {"socket_address": {"address": "{{ .AdminBindAddress }}", "port_value": {{ .AdminBindPort }}}}
  },
  "node": {
    "id": "{{ .ProxyID }}", "cluster": "{{ .ProxyCluster }}",
    "metadata": {"node_name": "{{ .NodeName }}", "service": "{{ .ProxySourceService }}", "namespace": "{{ .Namespace }}",
      "partition": "{{ .Partition }}", "datacenter": "{{ .Datacenter }}", "scrape": "{{ .PrometheusScrapePath }}",
      "merge": "{{ .PrometheusBackendPort }}", "tls": "{{ .AgentTLS }}{{ .AgentCAPEM }}",
      "files": "{{ .PrometheusCAFile }} {{ .PrometheusCAPath }} {{ .PrometheusCertFile }} {{ .PrometheusKeyFile }}"}
  },
  "static_resources": {
    "clusters": [{
      "name": "{{ .LocalAgentClusterName }}",
      "load_assignment": {"cluster_name": "{{ .LocalAgentClusterName }}", "endpoints": [{"lb_endpoints": [{"endpoint":
        {"address": {
          {{- if .AgentSocket }}"pipe": {"path": "{{ .AgentSocket }}"}
          {{- else }}"socket_address": {"address": "{{ .AgentAddress }}", "port_value": {{ .GRPC.AgentPort }}}
          {{- end }}}}}]}]}
    }{{ if .StaticClustersJSON }}, {{ .StaticClustersJSON }}{{ end }}]
    {{- if .StaticListenersJSON }}, "listeners": [{{ .StaticListenersJSON }}]{{ end }}
    {{- if .StaticSecretsJSON }}, "secrets": [{{ .StaticSecretsJSON }}]{{ end }}
  },
  {{- if .StatsSinksJSON }}"stats_sinks": [{{ .StatsSinksJSON }}],{{ end }}
  {{- if .StatsConfigJSON }}"stats_config": {{ .StatsConfigJSON }},{{ end }}
  {{- if .StatsFlushInterval }}"stats_flush_interval": "{{ .StatsFlushInterval }}",{{ end }}
  {{- if .TracingConfigJSON }}"tracing": {{ .TracingConfigJSON }},{{ end }}
  "dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [{
    "envoy_grpc": {"cluster_name": "{{ .LocalAgentClusterName }}"},
    "initial_metadata": [{"key": "x-consul-token", "value": "{{ .Token }}"}]}]}}
}`

func TestTemplateGetsEveryPiece(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.XDS.Secret = "s3cret"
	prometheusTLSFiles(&cfg)
	cfg.Prometheus.CADir, cfg.Prometheus.CABundle = "/certs/ca", testCABundle
	keys := everyKey()
	keys[keyTemplate] = operatorsTemplate
	p := testParams(keys)
	p.AccessLogs = []string{stdoutLog, stderrLog}
	got := mustBuild(t, cfg, p)

	delete(keys, keyTemplate)
	plain := mustBuild(t, cfg, p)
	if got, want := len(got.GetStaticResources().GetClusters()), len(plain.GetStaticResources().GetClusters()); got != want {
		t.Errorf("%d clusters, want %d", got, want)
	}
	if got, want := len(got.GetStaticResources().GetListeners()), len(plain.GetStaticResources().GetListeners()); got != want {
		t.Errorf("%d listeners, want %d", got, want)
	}
	if got, want := len(got.GetStatsSinks()), len(plain.GetStatsSinks()); got != want {
		t.Errorf("%d sinks, want %d", got, want)
	}
	if got, want := len(got.GetStatsConfig().GetStatsTags()), len(plain.GetStatsConfig().GetStatsTags()); got != want {
		t.Errorf("%d tags, want %d", got, want)
	}
	if n := len(got.GetStaticResources().GetSecrets()); n != 2 {
		t.Errorf("%d secrets", n)
	}
	if n := len(got.GetAdmin().GetAccessLog()); n != 2 {
		t.Errorf("%d access logs", n)
	}
	if got.GetTracing() == nil || //nolint:staticcheck // Consul's key is for this field
		got.GetStatsFlushInterval().GetSeconds() != 10 {
		t.Error("tracing or flush interval is missing")
	}
	meta := got.GetDynamicResources().GetAdsConfig().GetGrpcServices()[0].GetInitialMetadata()[0]
	if meta.GetValue() != "s3cret" {
		t.Errorf("token %q", meta.GetValue())
	}
	fields := got.GetNode().GetMetadata().AsMap()
	for k, want := range map[string]string{
		"node_name": "node-1", "service": "web", "namespace": "default", "partition": "default", "datacenter": "dc1",
		"scrape": "/metrics", "merge": "20100", "tls": "false", "files": " /certs/ca /certs/tls.crt /certs/tls.key",
	} {
		if fields[k] != want {
			t.Errorf("%s is %q, want %q", k, fields[k], want)
		}
	}
}

func TestTemplateWithLittle(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.XDS.Address = "@podplane"
	got := mustBuild(t, cfg, testParams(map[string]any{keyTemplate: operatorsTemplate}))
	clusters := got.GetStaticResources().GetClusters()
	if len(clusters) != 1 {
		t.Fatalf("%d clusters", len(clusters))
	}
	at := clusters[0].GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress()
	if path := at.GetPipe().GetPath(); path != "@podplane" {
		t.Errorf("xDS socket %q", path)
	}
	if n := len(got.GetStaticResources().GetListeners()); n != 0 {
		t.Errorf("%d listeners", n)
	}
}

// A template's author quotes what may hold awkward characters; the others are told that it did not work out.
func TestTemplateQuoting(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.ProxyID = `a"b`
	_, err := Build(cfg, testParams(map[string]any{keyTemplate: `{"node":{"id":"{{ .ProxyID }}"}}`}))
	wantError(t, err, keyTemplate, "is not JSON")

	b, err := Build(cfg, testParams(map[string]any{keyTemplate: ` {"node":{"id":{{ printf "%q" .ProxyID }}}} `}))
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b) || !strings.Contains(string(b), `"a\"b"`) {
		t.Errorf("%s", b)
	}
}
