// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenCase changes the usual arguments.
type goldenCase func(cfg *Config, p *Params)

func withKeys(keys map[string]any) goldenCase {
	return func(_ *Config, p *Params) { p.ProxyConfig = keys }
}

const (
	stdoutLog = `{"name":"Consul Listener Filter Log","typedConfig":{"@type":"type.googleapis.com/` +
		`envoy.extensions.access_loggers.stream.v3.StdoutAccessLog","logFormat":{"jsonFormat":{"m":"%REQ(:METHOD)%"}}}}`
	stderrLog = `{"name":"Consul Listener Filter Log","typedConfig":{"@type":"type.googleapis.com/` +
		`envoy.extensions.access_loggers.stream.v3.StderrAccessLog"}}`
	zipkinCluster = `{"name":"zipkin","type":"STRICT_DNS","connect_timeout":"5s","load_assignment":{"cluster_name":"zipkin",` +
		`"endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"zipkin","port_value":9411}}}}]}]}}`
	selfAdminCluster = `{"name":"self_admin","connect_timeout":"1s","load_assignment":{"cluster_name":"self_admin"}}`
	zipkinTracing    = `{"http":{"name":"envoy.tracers.zipkin","typedConfig":{"@type":"type.googleapis.com/` +
		`envoy.config.trace.v3.ZipkinConfig","collector_cluster":"zipkin","collector_endpoint":"/api/v2/spans"}}}`
	tcpListener = `{"name":"extra","address":{"socket_address":{"address":"127.0.0.1","port_value":5000}},"filter_chains":` +
		`[{"filters":[{"name":"envoy.filters.network.tcp_proxy","typed_config":{"@type":"type.googleapis.com/` +
		`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"extra","cluster":"zipkin"}}]}]}`
	extraSink = `{"name":"extra","typed_config":{"@type":"type.googleapis.com/envoy.config.metrics.v3.DogStatsdSink",` +
		`"address":{"socket_address":{"address":"10.0.0.1","port_value":8125}}}}`
)

// testCABundle looks like one; nothing here reads certificates.
const testCABundle = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

func prometheusTLSFiles(cfg *Config) {
	cfg.Prometheus.CertFile = "/certs/tls.crt"
	cfg.Prometheus.KeyFile = "/certs/tls.key"
}

var goldenCases = map[string]goldenCase{
	"basic": func(*Config, *Params) {},
	"tenancy": func(_ *Config, p *Params) {
		p.Namespace, p.Partition, p.Datacenter = "team-a", "west", "dc2"
	},
	"nothing-known": func(_ *Config, p *Params) { *p = Params{Service: "web"} },
	"identity":      func(_ *Config, p *Params) { p.Service, p.Identity = "old", "new" },
	"xds-unix-socket": func(cfg *Config, _ *Params) {
		cfg.XDS.Address = "/run/podplane/xds.sock"
	},
	"xds-abstract-socket": func(cfg *Config, _ *Params) { cfg.XDS.Address = "@podplane-xds-1" },
	"xds-ipv6-secret": func(cfg *Config, _ *Params) {
		cfg.XDS = XDS{Address: "[::1]:1234", Secret: "s3cret"}
	},
	"admin-ipv6-any": func(cfg *Config, p *Params) {
		cfg.Admin = Address{Host: "::", Port: 0}
		cfg.Ready = Address{Host: "::", Port: 21000}
		p.ProxyConfig = map[string]any{keyPrometheusBindAddr: "[::]:20200"}
	},
	"access-logs": func(_ *Config, p *Params) { p.AccessLogs = []string{stdoutLog, stderrLog} },
	"ready":       func(cfg *Config, _ *Params) { cfg.Ready = Address{Host: "0.0.0.0", Port: 21000} },
	"prometheus":  withKeys(map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200"}),
	"prometheus-scrape-path": func(cfg *Config, p *Params) {
		cfg.Prometheus.ScrapePath = "/scrape"
		cfg.Prometheus.Merge = Address{Port: 20101}
		p.ProxyConfig = map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200"}
	},
	"prometheus-unmerged": func(cfg *Config, p *Params) {
		cfg.Prometheus.Merge.Port = 0
		p.ProxyConfig = map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200"}
	},
	"prometheus-tls-ca-file": func(cfg *Config, p *Params) {
		prometheusTLSFiles(cfg)
		cfg.Prometheus.CAFile = "/certs/ca.crt"
		p.ProxyConfig = map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200"}
	},
	"prometheus-tls-ca-folder-ready-and-stats": func(cfg *Config, p *Params) {
		prometheusTLSFiles(cfg)
		cfg.Prometheus.CADir, cfg.Prometheus.CABundle = "/certs/ca", testCABundle
		cfg.Ready = Address{Host: "0.0.0.0", Port: 21000}
		p.ProxyConfig = map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200", keyStatsBindAddr: "0.0.0.0:20201"}
	},
	"tls-without-prometheus": func(cfg *Config, _ *Params) {
		prometheusTLSFiles(cfg)
		cfg.Prometheus.CAFile = "/certs/ca.crt"
		cfg.Ready = Address{Host: "0.0.0.0", Port: 21000}
	},
	"stats":          withKeys(map[string]any{keyStatsBindAddr: "0.0.0.0:20201"}),
	"statsd":         withKeys(map[string]any{keyStatsdURL: "udp://10.0.0.1:8125"}),
	"dogstatsd-udp":  withKeys(map[string]any{keyDogstatsdURL: "udp://[fd00::1]:8125"}),
	"dogstatsd-unix": withKeys(map[string]any{keyDogstatsdURL: "unix:///var/run/datadog/dsd.socket"}),
	"sinks-from-environment": func(cfg *Config, p *Params) {
		cfg.Getenv = environment("STATSD=udp://10.0.0.9:9125", "HOST_IP=fd00::7")
		p.ProxyConfig = map[string]any{keyStatsdURL: "$STATSD", keyDogstatsdURL: "udp://${HOST_IP}:8125"}
	},
	"stats-tags":           withKeys(map[string]any{keyStatsTags: []any{"Team=a=b", "canary", "local_cluster=mine", "n=\"1\""}}),
	"stats-config":         withKeys(map[string]any{keyStatsConfig: `{"use_all_default_tags": false}`}),
	"stats-flush-interval": withKeys(map[string]any{keyStatsFlushInterval: "1m0.25s"}),
	"tracing":              withKeys(map[string]any{keyTracing: zipkinTracing, keyExtraClusters: zipkinCluster}),
	"telemetry-collector":  withKeys(map[string]any{keyCollectorSocketDir: "/tmp/consul/telemetry-collector"}),
	"extras-comma-separated": withKeys(map[string]any{
		keyExtraClusters:  zipkinCluster + " ,\n" + `{"name":"other","connect_timeout":"1s"}`,
		keyExtraListeners: tcpListener,
		keyExtraSinks:     extraSink,
	}),
	"extras-unquoted": withKeys(map[string]any{
		keyExtraClusters: []any{map[string]any{"name": "one"}, map[string]any{"name": "two"}},
		keyExtraSinks:    "[" + extraSink + "]",
		keyStatsConfig:   map[string]any{"use_all_default_tags": true},
	}),
	"operators-self-admin": withKeys(map[string]any{
		keyExtraClusters: selfAdminCluster, keyPrometheusBindAddr: "0.0.0.0:20200", keyStatsBindAddr: "0.0.0.0:20201",
	}),
	"central-config-off": func(cfg *Config, p *Params) {
		cfg.UseCentralConfig = false
		cfg.Ready = Address{Host: "0.0.0.0", Port: 21000}
		p.ProxyConfig = map[string]any{keyPrometheusBindAddr: "nonsense", keyStatsdURL: "nonsense", keyTemplate: "{{"}
	},
	"awkward-values": func(cfg *Config, p *Params) {
		cfg.ProxyID = "a\"},{\n</script>\x00"
		p.Identity, p.NodeName, p.Datacenter = `"\u0000`, "\t\u2028", "\xff"
		p.ProxyConfig = map[string]any{keyStatsTags: "k\"=\n\\", "unknown": []any{1.0}, keyStatsdURL: nil, keyTemplate: ""}
	},
	"everything": func(cfg *Config, p *Params) {
		prometheusTLSFiles(cfg)
		cfg.Prometheus.CAFile = "/certs/ca.crt"
		cfg.XDS = XDS{Address: "127.0.0.1:1234", Secret: "s3cret"}
		cfg.Ready = Address{Host: "0.0.0.0", Port: 21000}
		p.AccessLogs = []string{stdoutLog}
		p.ProxyConfig = everyKey()
	},
}

// everyKey sets all keys but the template.
func everyKey() map[string]any {
	return map[string]any{
		keyStatsdURL:          "udp://10.0.0.1:8125",
		keyDogstatsdURL:       "unix:///dsd.sock",
		keyStatsTags:          []any{"canary"},
		keyPrometheusBindAddr: "0.0.0.0:20200",
		keyStatsBindAddr:      "0.0.0.0:20201",
		keyExtraClusters:      zipkinCluster,
		keyExtraListeners:     tcpListener,
		keyExtraSinks:         extraSink,
		keyStatsFlushInterval: "10s",
		keyTracing:            zipkinTracing,
		keyCollectorSocketDir: "/tmp",
		"protocol":            "http",
	}
}

func TestBuildGolden(t *testing.T) {
	t.Parallel()
	for name, change := range goldenCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, p := testConfig(), testParams(nil)
			change(&cfg, &p)
			got, err := Build(cfg, p)
			if err != nil {
				t.Fatal(err)
			}
			strictParse(t, got)
			compareGolden(t, name, got)
		})
	}
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden.json")
	if *update {
		if err := os.WriteFile(file, indented(t, got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(decoded(t, got), decoded(t, want)) {
		t.Errorf("differs from %s:\n%s", file, indented(t, got))
	}
}

func decoded(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return v
}

// Every golden file belongs to a case: a renamed case must not leave its old file behind.
func TestGoldenFilesAreUsed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".golden.json"); goldenCases[name] == nil {
			t.Errorf("%s belongs to no case", f)
		}
	}
}
