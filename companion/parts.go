// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"podplane/companion/consulhttp"
	"podplane/config"
	"podplane/injector/certs"
	"podplane/injector/webhook"
)

// newRegistry has what every program should tell of itself.
func newRegistry(version, revision string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "podplane_injector_build_info",
		Help: "Always 1; the labels say which build of podplane-injector is running.",
		ConstLabels: prometheus.Labels{
			"version": cmp.Or(version, "unknown"), "revision": cmp.Or(revision, "unknown"), "go_version": runtime.Version(),
		},
	})
	info.Set(1)
	registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// buildCerts decides where the certificate comes from.
func (c *Companion) buildCerts() error {
	core, err := coreclient.NewForConfig(c.kube)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	admission, err := admissionclient.NewForConfig(c.kube)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	w := c.config.Webhook
	cluster := certs.Cluster{
		Secrets: core.Secrets(c.config.Namespace), SecretName: w.SecretName,
		Webhooks: admission.MutatingWebhookConfigurations(), WebhookName: w.ConfigurationName,
	}
	log := c.log.Named("certs")
	if w.CertMode == config.CertsFiles {
		c.keeper, err = certs.NewFiles(certs.FilesConfig{
			Cert: w.CertFile, Key: w.KeyFile, CA: w.CAFile, Cluster: cluster, Metrics: c.registry,
		}, c.store, log)
		return err
	}
	c.keeper, err = certs.NewRotator(certs.RotatorConfig{
		Cluster: cluster, Names: names(c.config), AuthorityTTL: w.AuthorityTTL, LeafTTL: w.LeafTTL, Metrics: c.registry,
	}, c.store, log)
	return err
}

// names are those that the certificate is for. API servers use the first:
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#service-reference.
func names(c *config.Companion) []string {
	service := c.Webhook.ServiceName + "." + c.Namespace
	return append([]string{service + ".svc", service + ".svc.cluster.local", service, c.Webhook.ServiceName}, c.Webhook.ExtraNames...)
}

func (c *Companion) buildWebhook() (err error) {
	mutate, err := c.options.Inject(c.config, c.version.Native)
	if err != nil {
		return err
	}
	c.webhook, err = webhook.New(webhook.Config{
		Addr: c.config.Webhook.Addr, GetCertificate: c.store.GetCertificate, Mutate: mutate,
		Concurrency: c.config.Webhook.Concurrency, ShutdownDelay: c.config.Webhook.ShutdownDelay, Metrics: c.registry,
	}, c.log.Named("webhook"))
	if err == nil {
		c.bound(c.webhook)
	}
	return err
}

func (c *Companion) buildConsul() (err error) {
	c.consul, err = consulhttp.New(consulhttp.Config{
		Consul: c.config.Consul, Partition: c.config.Tenancy.Partition,
		Meta: map[string]string{"podplane-injector": c.config.Namespace},
	}, c.log.Named("consul"))
	return err
}

// buildPages binds probes and metrics.
func (c *Companion) buildPages() (err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.ready()) })
	if c.health, err = newPages("health", c.config.HealthAddr, mux, c.log.Named("health")); err != nil {
		return err
	}
	c.bound(c.health)
	if c.config.MetricsAddr == config.Off {
		return nil
	}
	mux = http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{c.registry, c.register}, promhttp.HandlerOpts{}))
	if c.metrics, err = newPages("metrics", c.config.MetricsAddr, mux, c.log.Named("metrics")); err != nil {
		return err
	}
	c.bound(c.metrics)
	return nil
}

// ready tells why API servers should not be sent here; nil if they may.
func (c *Companion) ready() error {
	select {
	case <-c.draining:
		return errors.New("the end has begun")
	default:
		return errors.Join(c.store.Ready(), c.version.Ready())
	}
}

// answer is what a probe reads.
func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, err)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
