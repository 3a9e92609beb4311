// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"podplane/config"
	"podplane/injector/webhook"
)

// options are those of a companion on free ports.
func options(kubeconfig string) Options {
	c := config.DefaultCompanion()
	c.Kubeconfig = kubeconfig
	c.Webhook.Addr, c.HealthAddr, c.MetricsAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Webhook.ShutdownDelay = 50 * time.Millisecond
	c.Consul.Addresses, c.Consul.TLS.Disabled = "127.0.0.1", true
	c.Inject.Image = "podplane:test"
	return Options{
		Config: c, Version: "1.2.3", Revision: "abc",
		Inject: func(c *config.Companion, _ func() (bool, string)) (webhook.Mutator, error) {
			_, err := PodDefaults(c)
			return func(context.Context, webhook.Request) (webhook.Decision, error) {
				return webhook.Decision{Patch: []byte("[]")}, nil
			}, err
		},
		Register: Register{
			Cache: func() cache.Options { return cache.Options{} },
			Add:   func(context.Context, manager.Manager, Registration) error { return nil },
		},
	}
}

// started runs a companion whose registrar does nothing.
func started(t *testing.T, o Options) (c *Companion, stop func() error) {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stopped := false
	stop = func() error {
		cancel()
		stopped = true
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			_ = stop()
		}
	})
	return c, stop
}

func get(t *testing.T, addr net.Addr, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	response, err := client.Get("http://" + addr.String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	limit, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-limit:
			t.Fatalf("not %s", what)
		case <-tick.C:
		}
	}
}

// TestReplica starts, leads, admits a pod over TLS, and ends in order.
func TestReplica(t *testing.T) {
	t.Parallel()
	kube, path := newKubeAPI(t)
	c, stop := started(t, options(path))
	health := c.health.listener.Addr()
	await(t, "ready", func() bool { code, _ := get(t, health, "/readyz"); return code == http.StatusOK })
	await(t, "leading", func() bool {
		_, text := get(t, c.metrics.listener.Addr(), "/metrics")
		return strings.Contains(text, "podplane_injector_leader 1")
	})
	if !strings.Contains(kube.get(leasePath), "holderIdentity") {
		t.Errorf("the lease is %s", kube.get(leasePath))
	}
	_, text := get(t, c.metrics.listener.Addr(), "/metrics")
	for _, name := range []string{`podplane_injector_build_info{`, "podplane_injector_certificate_expiry_timestamp_seconds", `podplane_injector_admissions_total{result="injected"} 0`} {
		if !strings.Contains(text, name) {
			t.Errorf("no %s", name)
		}
	}
	if code, _ := get(t, health, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz gives %d", code)
	}

	var hook struct {
		Webhooks []struct {
			ClientConfig struct{ CaBundle string }
		}
	}
	if err := json.Unmarshal([]byte(kube.get(hookPath)), &hook); err != nil {
		t.Fatal(err)
	}
	bundle, _ := base64.StdEncoding.DecodeString(hook.Webhooks[0].ClientConfig.CaBundle)
	if answer := admitted(t, c.webhook.Addr(), bundle, "podplane-injector.podplane-system.svc"); !strings.Contains(answer, `"uid":"u"`) {
		t.Errorf("the webhook says %s", answer)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if code, _ := get(t, health, "/healthz"); code != 0 {
		t.Error("probes are still answered")
	}
	if strings.Contains(kube.get(leasePath), `"holderIdentity":"`) && !strings.Contains(kube.get(leasePath), `"holderIdentity":""`) {
		t.Errorf("the lease was not given back: %s", kube.get(leasePath))
	}
}

// admitted posts a pod as an API server does.
func admitted(t *testing.T, addr net.Addr, bundle []byte, name string) string {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12},
	}}
	review := `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","operation":"CREATE","namespace":"default",
		"kind":{"version":"v1","kind":"Pod"},"object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"},"spec":{"containers":[{"name":"web"}]}}}}`
	response, err := client.Post("https://"+addr.String()+"/mutate", "application/json", bytes.NewBufferString(review))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}

// TestReadinessFailsFirst: while the webhook goes on, probes say that it ends.
func TestReadinessFailsFirst(t *testing.T) {
	t.Parallel()
	_, path := newKubeAPI(t)
	o := options(path)
	o.Config.Webhook.ShutdownDelay = 2 * time.Second
	o.Config.LeaderElection = false
	o.Config.MetricsAddr = config.Off
	c, stop := started(t, o)
	await(t, "ready", func() bool { return c.ready() == nil })
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	<-c.draining
	if code, text := get(t, c.health.listener.Addr(), "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "the end has begun") {
		t.Errorf("readyz gives %d: %s", code, text)
	}
	conn, err := net.Dial("tcp", c.webhook.Addr().String())
	if err != nil {
		t.Errorf("the webhook does not go on: %v", err)
	} else {
		_ = conn.Close()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLostLease ends the replica with an error: it must not act any more.
func TestLostLease(t *testing.T) {
	t.Parallel()
	kube, path := newKubeAPI(t)
	c, err := New(options(path))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context()) }()
	await(t, "leading", func() bool { return strings.Contains(kube.get(leasePath), "holderIdentity") })
	kube.steal(leasePath)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "leader election lost") {
		t.Errorf("ended with %v", err)
	}
}

// TestAPIServerAway is waited for, and nothing is ready before.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	kube, path := newKubeAPI(t)
	kube.setDown(true)
	tries := make(chan struct{}, 100)
	o := options(path)
	o.Register.Add = func(_ context.Context, _ manager.Manager, with Registration) error {
		tries <- struct{}{}
		// A second attempt must not trip over the metrics of the first.
		if err := with.Metrics.Register(prometheus.NewGauge(prometheus.GaugeOpts{Name: "tried", Help: "Tried."})); err != nil {
			t.Error(err)
		}
		if len(tries) < 2 {
			return errors.New("the API server is away")
		}
		return nil
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	await(t, "tried twice", func() bool { return len(tries) >= 2 })
	if code, text := get(t, c.health.listener.Addr(), "/readyz"); code != http.StatusServiceUnavailable ||
		!strings.Contains(text, "there is no certificate yet") || !strings.Contains(text, "version of the API server is not known") {
		t.Errorf("readyz gives %d: %s", code, text)
	}
	kube.setDown(false)
	await(t, "ready", func() bool { return c.ready() == nil })
	if native, missing := c.version.Native(); !native || missing != "" {
		t.Errorf("1.33 has no native sidecars: %s", missing)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, path := newKubeAPI(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, tc := range map[string]struct {
		spoil func(*config.Companion)
		says  string
	}{
		"kubeconfig": {func(c *config.Companion) { c.Kubeconfig = "/does/not/exist" }, "find the API server"},
		"webhook":    {func(c *config.Companion) { c.Webhook.Addr = taken.Addr().String() }, "bind webhook server"},
		"health":     {func(c *config.Companion) { c.HealthAddr = taken.Addr().String() }, "bind health server"},
		"metrics":    {func(c *config.Companion) { c.MetricsAddr = taken.Addr().String() }, "bind metrics server"},
		"ca":         {func(c *config.Companion) { c.Consul.TLS = config.ConsulTLS{CACertsPath: "/does/not/exist"} }, "authorities"},
		"quantity":   {func(c *config.Companion) { c.Defaults.CPULimit = "much" }, "-default-sidecar-proxy-cpu-limit"},
		"files":      {func(c *config.Companion) { c.Webhook.CertMode = config.CertsFiles }, "read webhook certificate"},
		"default":    {func(c *config.Companion) { c.Defaults.ExtraArgs = `"` }, "envoy-extra-args"},
		"ttl":        {func(c *config.Companion) { c.Webhook.LeafTTL = c.Webhook.AuthorityTTL }, "at most a quarter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(path)
			tc.spoil(o.Config)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestVersion has native sidecars by default, and at all, only where the API server
// has them.
func TestVersion(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		setting, version string
		native, known    bool
		missing          string
	}{
		"new":            {config.NativeAuto, "v1.32.0-eks-1", true, true, ""},
		"just has them":  {config.NativeAuto, "v1.29.0", true, true, ""},
		"old":            {config.NativeAuto, "v1.28.15", false, true, "the API server is v1.28.15, and native sidecars take 1.29"},
		"on":             {config.NativeOn, "v1.20.0", true, true, ""},
		"off":            {config.NativeOff, "v1.33.0", false, true, ""},
		"off, and old":   {config.NativeOff, "v1.28.0", false, true, "v1.28.0"},
		"off, who knows": {config.NativeOff, "what", false, true, "not known yet"},
		"unknown":        {config.NativeAuto, "what", false, false, "not known yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kube, path := newKubeAPI(t)
			kube.setVersion(tc.version)
			o := options(path)
			o.Config.Inject.NativeSidecars = tc.setting
			c, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if tc.setting != config.NativeOn {
				_ = c.version.look(t.Context())
			}
			native, missing := c.version.Native()
			if native != tc.native || (c.version.Ready() == nil) != tc.known || !strings.Contains(missing, tc.missing) || (missing == "") != (tc.missing == "") {
				t.Errorf("native %v, missing %q, %v", native, missing, c.version.Ready())
			}
			kube.setDown(true)
			if err := c.version.look(t.Context()); err == nil || (c.version.Ready() == nil) != tc.known {
				t.Errorf("forgotten while the API server is away: %v", err)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	o := options("")
	c := o.Config
	c.Defaults.CPURequest, c.Defaults.MemoryLimit = "100m", "64Mi"
	c.Inject.Compat, c.Inject.AuthMethod = true, "podplane"
	c.Tenancy = config.Tenancy{Namespaces: true, Mirroring: true, MirroringPrefix: "k8s-", Partition: "p1"}
	if got := Destination(c).For("shop"); got != "k8s-shop" {
		t.Errorf("the namespace is %s", got)
	}
	d, err := PodDefaults(c)
	if err != nil {
		t.Fatal(err)
	}
	if d.IDForm != "compat" || d.ShutdownGrace != 30 || d.ScrapePort != 20200 || !d.ProxyHealthCheck {
		t.Errorf("got %+v", d)
	}
	if q := d.Resources.Requests[corev1.ResourceCPU]; q.String() != "100m" {
		t.Errorf("requests %v", d.Resources.Requests)
	}
	if q := d.Resources.Limits[corev1.ResourceMemory]; q.String() != "64Mi" {
		t.Errorf("limits %v", d.Resources.Limits)
	}
}

func TestLogr(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := Logr(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, Name: "top"})).WithName("part").WithValues("key", 1)
	log.Info("works", "more", 2)
	log.V(1).Info("details")
	log.Error(errors.New("cause"), "tries again")
	text := out.String()
	for _, want := range []string{"[DEBUG] top.part: works: key=1 more=2", "[WARN]  top.part: tries again: key=1 error=cause"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "details") {
		t.Errorf("more than was asked for: %s", text)
	}
	out.Reset()
	log = Logr(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace}))
	log.V(4).Info("details")
	if !strings.Contains(out.String(), "[TRACE] details") {
		t.Errorf("got %s", out.String())
	}
}
