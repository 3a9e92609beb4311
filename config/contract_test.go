// SPDX-License-Identifier: MPL-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

// contract is what existing charts, task definitions and compose files rely on:
// flag, variable, key and default, spelled out once more so that a slip in the
// table cannot go unseen.
const contract = `
mode DP_MODE mode sidecar
addresses DP_CONSUL_ADDRESSES consul.addresses -
grpc-port DP_CONSUL_GRPC_PORT consul.grpcPort 8502
server-watch-disabled DP_SERVER_WATCH_DISABLED consul.serverWatchDisabled false
tls-disabled DP_TLS_DISABLED consul.tls.disabled false
tls-insecure-skip-verify DP_TLS_INSECURE_SKIP_VERIFY consul.tls.insecureSkipVerify false
ca-certs DP_CA_CERTS consul.tls.caCertsPath -
tls-cert DP_TLS_CERT consul.tls.certFile -
tls-key DP_TLS_KEY consul.tls.keyFile -
tls-server-name DP_TLS_SERVER_NAME consul.tls.serverName -
credential-type DP_CREDENTIAL_TYPE consul.credentials.type -
static-token DP_CREDENTIAL_STATIC_TOKEN consul.credentials.static.token -
static-token-path DP_CREDENTIAL_STATIC_TOKEN_PATH consul.credentials.static.tokenPath -
login-auth-method DP_CREDENTIAL_LOGIN_AUTH_METHOD consul.credentials.login.authMethod -
login-namespace DP_CREDENTIAL_LOGIN_NAMESPACE consul.credentials.login.namespace -
login-partition DP_CREDENTIAL_LOGIN_PARTITION consul.credentials.login.partition -
login-datacenter DP_CREDENTIAL_LOGIN_DATACENTER consul.credentials.login.datacenter -
login-bearer-token DP_CREDENTIAL_LOGIN_BEARER_TOKEN consul.credentials.login.bearerToken -
login-bearer-token-path DP_CREDENTIAL_LOGIN_BEARER_TOKEN_PATH consul.credentials.login.bearerTokenPath -
login-meta DP_CREDENTIAL_LOGIN_META consul.credentials.login.meta -
proxy-node-name DP_PROXY_NODE_NAME proxy.nodeName -
proxy-node-id DP_PROXY_NODE_ID proxy.nodeID -
service-file DP_SERVICE_FILE registration.serviceFile -
consul-http-port DP_CONSUL_HTTP_PORT registration.httpPort 0
consul-http-tls-disabled DP_CONSUL_HTTP_TLS_DISABLED registration.httpTLSDisabled false
proxy-id DP_PROXY_ID proxy.id -
proxy-id-path DP_PROXY_ID_PATH proxy.idPath -
proxy-namespace DP_PROXY_NAMESPACE proxy.namespace -
proxy-partition DP_PROXY_PARTITION proxy.partition -
service-node-name DP_SERVICE_NODE_NAME service.nodeName -
service-node-id DP_SERVICE_NODE_ID service.nodeID -
proxy-service-id DP_PROXY_SERVICE_ID service.serviceID -
proxy-service-id-path DP_PROXY_SERVICE_ID_PATH service.serviceIDPath -
service-namespace DP_SERVICE_NAMESPACE service.namespace -
service-partition DP_SERVICE_PARTITION service.partition -
log-level DP_LOG_LEVEL logging.logLevel info
log-json DP_LOG_JSON logging.logJSON false
xds-bind-addr DP_XDS_BIND_ADDR xdsServer.bindAddress -
xds-bind-port DP_XDS_BIND_PORT xdsServer.bindPort 0
xds-cache DP_XDS_CACHE xdsServer.cache memory
consul-dns-bind-addr DP_CONSUL_DNS_BIND_ADDR dnsServer.bindAddress 127.0.0.1
consul-dns-bind-port DP_CONSUL_DNS_BIND_PORT dnsServer.bindPort -1
consul-dns-recursors DP_CONSUL_DNS_RECURSORS dnsServer.recursors -
consul-dns-cache-size DP_CONSUL_DNS_CACHE_SIZE dnsServer.cacheSize 1000
consul-dns-stale-seconds DP_CONSUL_DNS_STALE_SECONDS dnsServer.staleSeconds 30
telemetry-use-central-config DP_TELEMETRY_USE_CENTRAL_CONFIG telemetry.useCentralConfig true
telemetry-prom-retention-time DP_TELEMETRY_PROM_RETENTION_TIME telemetry.prometheus.retentionTime 60s
telemetry-prom-ca-certs-path DP_TELEMETRY_PROM_CA_CERTS_PATH telemetry.prometheus.caCertsPath -
telemetry-prom-ca-certs-file DP_TELEMETRY_PROM_CA_CERTS_FILE telemetry.prometheus.caCertsFile -
telemetry-prom-cert-file DP_TELEMETRY_PROM_CERT_FILE telemetry.prometheus.certFile -
telemetry-prom-key-file DP_TELEMETRY_PROM_KEY_FILE telemetry.prometheus.keyFile -
telemetry-prom-service-metrics-url DP_TELEMETRY_PROM_SERVICE_METRICS_URL telemetry.prometheus.serviceMetricsURL -
telemetry-prom-scrape-path DP_TELEMETRY_PROM_SCRAPE_PATH telemetry.prometheus.scrapePath /metrics
telemetry-prom-merge-port DP_TELEMETRY_PROM_MERGE_PORT telemetry.prometheus.mergePort 20100
telemetry-prom-merge-bind-addr DP_TELEMETRY_PROM_MERGE_BIND_ADDR telemetry.prometheus.mergeBindAddress 127.0.0.1
telemetry-prom-scrape-max-bytes DP_TELEMETRY_PROM_SCRAPE_MAX_BYTES telemetry.prometheus.scrapeMaxBytes 67108864
envoy-admin-bind-address DP_ENVOY_ADMIN_BIND_ADDRESS envoy.adminBindAddress 127.0.0.1
envoy-admin-bind-port DP_ENVOY_ADMIN_BIND_PORT envoy.adminBindPort 19000
envoy-ready-bind-address DP_ENVOY_READY_BIND_ADDRESS envoy.readyBindAddress -
envoy-ready-bind-port DP_ENVOY_READY_BIND_PORT envoy.readyBindPort 0
envoy-concurrency DP_ENVOY_CONCURRENCY envoy.concurrency 2
envoy-drain-time-seconds DP_ENVOY_DRAIN_TIME envoy.drainTimeSeconds 30
envoy-drain-strategy DP_ENVOY_DRAIN_STRATEGY envoy.drainStrategy immediate
envoy-executable-path DP_ENVOY_EXECUTABLE_PATH envoy.executablePath envoy
envoy-max-restarts DP_ENVOY_MAX_RESTARTS envoy.maxRestarts 10
envoy-restart-window-seconds DP_ENVOY_RESTART_WINDOW_SECONDS envoy.restartWindowSeconds 600
shutdown-drain-listeners DP_SHUTDOWN_DRAIN_LISTENERS envoy.shutdownDrainListenersEnabled false
shutdown-grace-period-seconds DP_SHUTDOWN_GRACE_PERIOD_SECONDS envoy.shutdownGracePeriodSeconds 0
shutdown-when-idle DP_SHUTDOWN_WHEN_IDLE envoy.shutdownWhenIdle auto
graceful-addr DP_GRACEFUL_ADDR envoy.gracefulAddr 127.0.0.1
graceful-port DP_GRACEFUL_PORT envoy.gracefulPort 20600
graceful-shutdown-path DP_GRACEFUL_SHUTDOWN_PATH envoy.gracefulShutdownPath /graceful_shutdown
graceful-startup-path DP_GRACEFUL_STARTUP_PATH envoy.gracefulStartupPath /graceful_startup
startup-grace-period-seconds DP_STARTUP_GRACE_PERIOD_SECONDS envoy.startupGracePeriodSeconds 0
termination-grace-period-seconds DP_TERMINATION_GRACE_PERIOD_SECONDS envoy.terminationGracePeriodSeconds 0
dump-envoy-config-on-exit DP_DUMP_ENVOY_CONFIG_ON_EXIT envoy.dumpEnvoyConfigOnExitEnabled false
config-file - - -
version - - false
check-proxy-health - - false
help - - false
h - - false
`

func TestTableKeepsTheContract(t *testing.T) {
	t.Parallel()
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	var got []string
	for _, s := range Settings() {
		got = append(got, strings.Join([]string{s.Flag, dash(s.Env), dash(s.Key), dash(s.Default)}, " "))
	}
	want := strings.Split(strings.TrimSpace(contract), "\n")
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("not in the contract: %s", line)
		}
	}
}

func TestTableIsSound(t *testing.T) {
	t.Parallel()
	byFlag, names := map[string]Setting{}, map[string]string{}
	for _, s := range Settings() {
		for _, name := range append(s.envNames(), "-"+s.Flag, "key "+s.Key) {
			if by, taken := names[name]; taken && name != "key " {
				t.Errorf("%s is of both -%s and -%s", name, by, s.Flag)
			}
			names[name] = s.Flag
		}
		if !strings.HasSuffix(s.Help, ".") || s.Group == "" {
			t.Errorf("-%s: help %q, group %q", s.Flag, s.Help, s.Group)
		}
		byFlag[s.Flag] = s
	}
	for _, s := range byFlag {
		for _, other := range []string{s.AliasOf, s.DeprecatedBy} {
			if _, ok := byFlag[other]; !ok && other != "" {
				t.Errorf("-%s refers to -%s, which does not exist", s.Flag, other)
			}
		}
		if strings.HasSuffix(s.Flag, "token") != s.isSecret() {
			t.Errorf("-%s: secret is %v", s.Flag, s.isSecret())
		}
	}
}

func TestUsageShowsEverySetting(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := Usage(&b); err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings() {
		for _, part := range []string{"\n  -" + s.Flag, s.Env, s.Key} {
			if !strings.Contains(b.String(), part) {
				t.Errorf("help is without %q", part)
			}
		}
	}
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "`") || strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
			t.Errorf("untidy line %q", line)
		}
	}
}
