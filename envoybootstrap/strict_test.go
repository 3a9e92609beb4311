// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"slices"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// everything is a configuration that asks for all there is; everyKey is its counterpart.
func everything() Config {
	cfg := testConfig()
	prometheusTLSFiles(&cfg)
	cfg.Prometheus.CAFile = "/certs/ca.crt"
	cfg.Ready = Address{Host: "0.0.0.0", Port: 21000}
	return cfg
}

// The check of golden files is worth what it sees: it must look into Any at every depth.
func TestForEachAnyLooksInside(t *testing.T) {
	t.Parallel()
	var urls []string
	forEachAny(t, mustBuild(t, everything(), testParams(everyKey())), func(url string, _ any) {
		urls = append(urls, url)
	})
	for message, want := range map[string]int{
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": 3,
		"envoy.extensions.filters.http.router.v3.Router":                                    3,
		"envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext":                    1,
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":                            2,
		"envoy.config.metrics.v3.MetricsServiceConfig":                                      1,
	} {
		n := len(slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return u != typeURL(message) }))
		if n != want {
			t.Errorf("%d of %s, want %d", n, message, want)
		}
	}
}

// TLS on the ready or stats listener would break plain HTTP probes, and a secret given twice ends Envoy.
func TestPrometheusTLSIsOnItsListenerAlone(t *testing.T) {
	t.Parallel()
	b := mustBuild(t, everything(), testParams(map[string]any{
		keyPrometheusBindAddr: "0.0.0.0:20200", keyStatsBindAddr: "0.0.0.0:20201",
	}))
	var withTLS []string
	for _, l := range b.GetStaticResources().GetListeners() {
		if l.GetFilterChains()[0].GetTransportSocket() != nil {
			withTLS = append(withTLS, l.GetName())
		}
	}
	if want := []string{ListenerPrometheus}; !slices.Equal(withTLS, want) {
		t.Errorf("TLS on %q, want %q", withTLS, want)
	}
	var secrets []string
	for _, s := range b.GetStaticResources().GetSecrets() {
		secrets = append(secrets, s.GetName())
	}
	if want := []string{secretPrometheusCert, secretPrometheusValidation}; !slices.Equal(secrets, want) {
		t.Errorf("secrets %q, want %q", secrets, want)
	}
	forEachAny(t, b, func(_ string, inner any) {
		ctx, ok := inner.(*tlsv3.DownstreamTlsContext)
		if !ok {
			return
		}
		refs := []string{
			ctx.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs()[0].GetName(),
			ctx.GetCommonTlsContext().GetValidationContextSdsSecretConfig().GetName(),
		}
		if !slices.Equal(refs, secrets) {
			t.Errorf("the listener refers to %q, the secrets are %q", refs, secrets)
		}
	})
}

// Consul's servers configure a listener at this path; the names are from bootstraps of the reference implementation.
func TestCollectorSocketName(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"web-proxy":         "0UZwF69tP4X7LqMgNbB_v_R6Sjk.sock",
		"web-sidecar-proxy": "gqmuzdHCUPAEY5mbF8vgkZCNI14.sock",
	} {
		if got := collectorSocketName("default", id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	t.Parallel()
	first, err := Build(everything(), testParams(everyKey()))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		again, err := Build(everything(), testParams(everyKey()))
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(first) {
			t.Fatalf("differs:\n%s\n%s", first, again)
		}
	}
}
