// SPDX-License-Identifier: MPL-2.0

package config

import "math"

func metricsSettings() []Setting {
	return []Setting{
		{
			Flag: "telemetry-use-central-config", Key: "telemetry.useCentralConfig", Default: "true", Group: groupMetrics,
			Help: "Let the proxy's configuration in Consul turn metrics on and say where they go.",
			bind: func(c *Config) value { return boolean(&c.Telemetry.UseCentralConfig) },
		}, {
			Flag: "telemetry-prom-retention-time", Key: "telemetry.prometheus.retentionTime", Default: "60s", Group: groupMetrics,
			Help: "Accepted for compatibility and without effect: podplane's own metrics are few and constant, and none of them expires. In JSON a number is nanoseconds.",
			bind: func(c *Config) value { return duration(&c.Telemetry.Prometheus.RetentionTime) },
		}, {
			Flag: "telemetry-prom-ca-certs-path", Key: "telemetry.prometheus.caCertsPath", Group: groupMetrics,
			Help: "Path of a PEM file, or of a folder of them, with the CAs of scrapers of Envoy's Prometheus listener: a certificate that one presents is checked, none is asked for. " +
				"A folder is read once, at the start. TLS there needs the certificate and the key too.",
			bind: func(c *Config) value { return text(&c.Telemetry.Prometheus.CACertsPath) },
		}, {
			Flag: "telemetry-prom-ca-certs-file", Key: "telemetry.prometheus.caCertsFile", Group: groupMetrics, AliasOf: "telemetry-prom-ca-certs-path",
			Help: "Another name of `-telemetry-prom-ca-certs-path`.",
			bind: func(c *Config) value { return text(&c.Telemetry.Prometheus.CACertsPath) },
		}, {
			Flag: "telemetry-prom-cert-file", Key: "telemetry.prometheus.certFile", Group: groupMetrics,
			Help: "Path of the PEM file with the certificate of Envoy's Prometheus listener.",
			bind: func(c *Config) value { return text(&c.Telemetry.Prometheus.CertFile) },
		}, {
			Flag: "telemetry-prom-key-file", Key: "telemetry.prometheus.keyFile", Group: groupMetrics,
			Help: "Path of the PEM file with the private key of Envoy's Prometheus listener.",
			bind: func(c *Config) value { return text(&c.Telemetry.Prometheus.KeyFile) },
		}, {
			Flag: "telemetry-prom-service-metrics-url", Key: "telemetry.prometheus.serviceMetricsURL", Group: groupMetrics,
			Help: "The URL of the application's own metrics; several are separated by commas.",
			bind: func(c *Config) value { return list(&c.Telemetry.Prometheus.ServiceMetricsURLs, httpURL()) },
		}, {
			Flag: "telemetry-prom-scrape-path", Key: "telemetry.prometheus.scrapePath", Default: "/metrics", Group: groupMetrics,
			Help: "The path of the metrics on Envoy's Prometheus listener.",
			bind: func(c *Config) value { return text(&c.Telemetry.Prometheus.ScrapePath, urlPath()) },
		}, {
			Flag: "telemetry-prom-merge-port", Key: "telemetry.prometheus.mergePort", Default: "20100", Group: groupMetrics,
			Help: "The port of the merged metrics, to which Envoy's Prometheus listener points. 0: any free port.",
			bind: func(c *Config) value { return number(&c.Telemetry.Prometheus.MergePort, 0, maxPort) },
		}, {
			Flag: "telemetry-prom-merge-bind-addr", Key: "telemetry.prometheus.mergeBindAddress", Default: "127.0.0.1", Group: groupMetrics,
			Help: "The IP address of the merged metrics. They are served in plain text, so anything but a loopback address is warned about.",
			bind: func(c *Config) value { return text(&c.Telemetry.Prometheus.MergeBindAddr, ipAddress()) },
		}, {
			Flag: "telemetry-prom-scrape-max-bytes", Key: "telemetry.prometheus.scrapeMaxBytes", Default: "67108864", Group: groupMetrics,
			Help: "How many bytes to read at most from one source in one scrape.",
			bind: func(c *Config) value { return number(&c.Telemetry.Prometheus.ScrapeMaxBytes, 1, math.MaxInt64) },
		},
	}
}
