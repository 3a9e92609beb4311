// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
	"podplane/integration/ports"
	"podplane/integration/servers"
)

// The ways in which an application answers its scrapes.
const (
	answersWell = iota
	answersError
	answersNever
	answersHalfALine
	answersNonsense
)

// metricsApp is an application's metrics endpoint.
type metricsApp struct {
	mode atomic.Int32
	url  string
}

func startMetricsApp(t *testing.T) *metricsApp {
	t.Helper()
	a := &metricsApp{}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL + "/metrics"
	return a
}

// ServeHTTP implements http.Handler.
func (a *metricsApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const text = "# HELP app_orders_total Orders.\n# TYPE app_orders_total counter\napp_orders_total{shop=\"north\"} 7\n"
	switch a.mode.Load() {
	case answersWell:
		_, _ = w.Write([]byte(text))
	case answersError:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case answersNever:
		<-r.Context().Done()
	case answersHalfALine:
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(text + "app_orders_total{shop=\"so"))
	case answersNonsense:
		_, _ = w.Write([]byte(text + "<html>not what you want</html>\n"))
	}
}

// reserve gives an address for a listener that cannot take port 0.
func reserve(t *testing.T) string {
	t.Helper()
	block, err := ports.Reserve(1)
	must(t, err)
	t.Cleanup(block.Release)
	return ports.HostPort("127.0.0.1", block.Next())
}

// lookUp asks the DNS server at an address.
func lookUp(ctx context.Context, server, name string) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	_, err := resolver.LookupHost(ctx, name)
	return err
}

// scrape reads the merged metrics as Prometheus does, and has promtool judge
// them.
func scrape(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, url, http.NoBody)
	must(t, err)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "3")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", url, resp.Status, body)
	}
	if _, err := servers.CheckMetrics(req.Context(), bytes.NewReader(body)); err != nil {
		t.Error(err)
	}
	return string(body)
}

// TestPrometheus has a real Prometheus server scrape a pod through Envoy while
// the application's endpoint fails in every way.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	m := newMesh(t, consultest.Options{})
	app, bind, dns := startMetricsApp(t), reserve(t), reserve(t)
	_, dnsPort, _ := net.SplitHostPort(dns)
	pod, err := m.Start(ctx, mesh.PodSpec{
		Name:        "web",
		ProxyConfig: map[string]any{"envoy_prometheus_bind_addr": bind},
		Args:        []string{"-telemetry-prom-service-metrics-url", app.url, "-consul-dns-bind-port", dnsPort},
	})
	must(t, err, pod.WaitReady(ctx))
	must(t, lookUp(ctx, dns, "consul.service.consul"))
	prometheus := startPrometheus(t, `- {job_name: pod, static_configs: [{targets: ["`+bind+`"]}]}`)
	prometheus.holds(t, `up == 1`, `app_orders_total{shop="north"} == 7`, `envoy_server_live == 1`,
		`podplane_build_info`, `podplane_scrape_source_up{source="application"} == 1`,
		`podplane_serverconn_connect_duration_seconds_count == 1`, `consul_dataplane_connect_duration_count == 1`)

	for _, tt := range []struct {
		name string
		mode int32
		why  string
	}{
		{"answers 500", answersError, "status"},
		{"hangs", answersNever, "timeout"},
		{"sends half a line", answersHalfALine, "truncated"},
		{"sends nonsense", answersNonsense, "malformed"},
	} {
		app.mode.Store(tt.mode)
		since := fmt.Sprintf(" and timestamp(envoy_server_live) > %d", time.Now().Unix())
		prometheus.holds(t, fmt.Sprintf(`podplane_scrape_source_failures_total{source="application",reason=%q} > 0`, tt.why),
			`podplane_scrape_source_up{source="application"} == 0`, `podplane_scrape_source_up{source="envoy"} == 1`,
			`up == 1`, `envoy_server_live == 1`+since, `podplane_build_info`, `absent(app_orders_total)`)
		if text := scrape(t, "http://"+bind+"/metrics"); strings.Contains(text, "app_orders_total{") {
			t.Errorf("an application that %s has left something in the scrape", tt.name)
		}
	}
	app.mode.Store(answersWell)
	prometheus.holds(t, `app_orders_total == 7`, `podplane_scrape_source_up{source="application"} == 1`)
	expectQueries(t, prometheus)
	if n, err := prometheus.series(t.Context(), `min_over_time(up[5m]) == 0`); err != nil || n != 0 {
		var data any
		err := errors.Join(err, prometheus.get(t.Context(), "query",
			url.Values{"query": {`{__name__=~"up|scrape_duration_seconds"}[5m]`}}, &data))
		// Beside a source that hangs, podplane leaves itself half a second of a scrape.
		if b := busyness(t); b >= busy {
			t.Logf("Prometheus has lost scrapes on a machine where work takes %.1f times as long: %v, %v", b, data, err)
			return
		}
		t.Errorf("Prometheus has lost scrapes: %v, %v", data, err)
	}
}

// TestPrometheusTLS: scrapes over the network are encrypted, a scraper that
// presents a certificate is checked, and what is behind Envoy's listener cannot
// be reached from there.
func TestPrometheusTLS(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	m := newMesh(t, consultest.Options{})
	dir, bind := t.TempDir(), reserve(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	ca, err := consultest.NewCA("scrapers")
	must(t, err)
	pair, err := ca.Issue("scraper.example", "127.0.0.1")
	must(t, err, os.WriteFile(file("ca.pem"), ca.PEM(), 0o600),
		os.WriteFile(file("cert.pem"), pair.Cert, 0o600), os.WriteFile(file("key.pem"), pair.Key, 0o600))
	pod, err := m.Start(ctx, mesh.PodSpec{
		Name:        "web",
		ProxyConfig: map[string]any{"envoy_prometheus_bind_addr": bind},
		Args: []string{
			"-telemetry-prom-ca-certs-file", file("ca.pem"), // as consul-k8s passes it
			"-telemetry-prom-cert-file", file("cert.pem"), "-telemetry-prom-key-file", file("key.pem"),
		},
	})
	must(t, err, pod.WaitReady(ctx))
	startPrometheus(t, fmt.Sprintf(`
- job_name: pod
  scheme: https
  tls_config: {ca_file: %[1]s/ca.pem, cert_file: %[1]s/cert.pem, key_file: %[1]s/key.pem}
  static_configs: [{targets: [%[2]q]}]
`, dir, bind)).holds(t, `up == 1`, `envoy_server_live == 1`, `podplane_build_info`)

	client := func(c *tls.Config) error {
		c.InsecureSkipVerify = true // whom the server admits is the question
		conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", bind)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
		_, err = conn.Read(make([]byte, 1)) // under TLS 1.3 a refusal comes with the first read
		return err
	}
	good, err := tls.X509KeyPair(pair.Cert, pair.Key)
	must(t, err, client(&tls.Config{Certificates: []tls.Certificate{good}}))
	must(t, client(&tls.Config{})) // as with consul-dataplane
	other, err := consultest.NewCA("others")
	must(t, err)
	foreign, err := other.Issue("scraper.example")
	must(t, err)
	bad, err := tls.X509KeyPair(foreign.Cert, foreign.Key)
	must(t, err)
	presents := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &bad, nil }
	if client(&tls.Config{GetClientCertificate: presents}) == nil {
		t.Error("a scraper with a certificate of another authority was answered")
	}
	if answer, err := mesh.Get(ctx, "http://"+bind+"/metrics"); err == nil && answer.Status == http.StatusOK {
		t.Error("a scrape in plain text was answered")
	}
	_, port, _ := net.SplitHostPort(pod.Metrics)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.2", port))
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the merged metrics at another address than 127.0.0.1: %v", err)
	}
}
