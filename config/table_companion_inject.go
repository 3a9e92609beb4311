// SPDX-License-Identifier: MPL-2.0

package config

import "regexp"

// quantity takes an amount of CPU or memory, or nothing:
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
func quantity() check {
	form := regexp.MustCompile(`^\d+(\.\d+)?([eE]\d+|m|k|Ki|M|Mi|G|Gi|T|Ti)?$`)
	return optional(check{want: `a quantity such as "100m" or "64Mi"`, ok: form.MatchString})
}

func (c *Companion) injectSettings() []Setting {
	i := &c.Inject
	return []Setting{
		{
			Flag: "image", Group: groupInject,
			Help: "The image of the sidecar. Required.",
			bind: func(*Config) value { return text(&i.Image) },
		}, {
			Flag: "image-pull-policy", Group: groupInject,
			Help: "The pull policy of the sidecar's image: `Always`, `IfNotPresent` or `Never`. Unset: Kubernetes' default.",
			bind: func(*Config) value {
				return text(&i.ImagePullPolicy, optional(oneOf("Always", "IfNotPresent", "Never")))
			},
		}, {
			Flag: "default-inject", Default: "false", Group: groupInject,
			Help: "Inject pods that have no annotation `connect-inject`.",
			bind: func(*Config) value { return boolean(&i.Default) },
		}, {
			Flag: "allow-namespaces", Default: "*", Group: groupInject,
			Help: "The Kubernetes namespaces whose pods may be injected; `*` is all. An empty list is none.",
			bind: func(*Config) value { return list(&i.AllowNamespaces, notEmpty()) },
		}, {
			Flag: "deny-namespaces", Group: groupInject,
			Help: "The Kubernetes namespaces whose pods are never injected. Wins over `-allow-namespaces`. kube-system and kube-public always are.",
			bind: func(*Config) value { return list(&i.DenyNamespaces, notEmpty()) },
		}, {
			Flag: "native-sidecars", Default: NativeAuto, Group: groupInject,
			Help: "Whether the sidecar is an init container that is restarted: `true`, `false`, or `auto`, where the API server is 1.29 or newer; nodes must be, too. A pod's annotation wins.",
			bind: func(*Config) value { return text(&i.NativeSidecars, oneOf(NativeAuto, NativeOn, NativeOff)) },
		}, {
			Flag: "compat", Default: "false", Group: groupInject,
			Help: "Write pods that HashiCorp's consul-dataplane image can run in: the proxy ID in a file, in the form of consul-k8s.",
			bind: func(*Config) value { return boolean(&i.Compat) },
		}, {
			Flag: "companion-image", Group: groupInject,
			Help: "The image of the init container that `-compat` needs.",
			bind: func(*Config) value { return text(&i.CompanionImage) },
		},
	}
}

// sidecarSettings are what sidecars are told, but for the pod's own defaults.
func (c *Companion) sidecarSettings() []Setting {
	i := &c.Inject
	return []Setting{
		{
			Flag: "acl-auth-method", Group: groupInject,
			Help: "The auth method that sidecars log in to. Unset: ACLs are off.",
			bind: func(*Config) value { return text(&i.AuthMethod) },
		}, {
			Flag: "any-service-account", Default: "false", Group: groupInject,
			Help: "With `-acl-auth-method`, let pods join whose ServiceAccount has another name than their service. They are refused otherwise: the binding rules of `bootstrap-acl` do not let their dataplanes log in. For binding rules of your own.",
			bind: func(*Config) value { return boolean(&i.AnyAccount) },
		}, {
			Flag: "token-audience", Group: groupInject,
			Help: "The audience of the service account tokens that sidecars log in with. Unset: the API server's, which is the only one that an auth method of the type kubernetes takes.",
			bind: func(*Config) value { return text(&i.TokenAudience) },
		}, {
			Flag: "token-expiry", Default: "1h0m0s", Group: groupInject,
			Help: "The life of those tokens, at least 10m. The kubelet renews them.",
			bind: func(*Config) value { return duration(&i.TokenExpiry) },
		}, {
			Flag: "sidecar-log-level", Default: "info", Group: groupInject,
			Help: "How much sidecars log: `trace`, `debug`, `info`, `warn`, `error` or `off`.",
			bind: func(*Config) value {
				return foldedText(&i.LogLevel, oneOf("trace", "debug", "info", "warn", "error", "off"))
			},
		}, {
			Flag: "sidecar-log-json", Default: "false", Group: groupInject,
			Help: "Let sidecars log in JSON.",
			bind: func(*Config) value { return boolean(&i.LogJSON) },
		},
	}
}

func (c *Companion) podSettings() []Setting {
	d := &c.Defaults
	return []Setting{
		{
			Flag: "default-enable-metrics", Default: "false", Group: groupPods,
			Help: "Expose metrics of pods to Prometheus.",
			bind: func(*Config) value { return boolean(&d.Metrics) },
		}, {
			Flag: "default-enable-metrics-merging", Default: "false", Group: groupPods,
			Help: "Merge the application's metrics with Envoy's.",
			bind: func(*Config) value { return boolean(&d.MetricsMerging) },
		}, {
			Flag: "default-merged-metrics-port", Default: "20100", Group: groupPods,
			Help: "The port of the merged metrics.",
			bind: func(*Config) value { return number(&d.MergePort, 1024, maxPort) },
		}, {
			Flag: "default-prometheus-scrape-port", Default: "20200", Group: groupPods,
			Help: "The port that Prometheus scrapes.",
			bind: func(*Config) value { return number(&d.ScrapePort, 1024, maxPort) },
		}, {
			Flag: "default-prometheus-scrape-path", Default: "/metrics", Group: groupPods,
			Help: "The path that Prometheus scrapes.",
			bind: func(*Config) value { return text(&d.ScrapePath, urlPath()) },
		}, {
			Flag: "default-service-metrics-path", Default: "/metrics", Group: groupPods,
			Help: "The path of the application's own metrics.",
			bind: func(*Config) value { return text(&d.ServiceMetricsPath, urlPath()) },
		}, {
			Flag: "default-envoy-proxy-concurrency", Default: "2", Group: groupPods,
			Help: "The number of Envoy's worker threads.",
			bind: func(*Config) value { return number(&d.Concurrency, 1, 1024) },
		}, {
			Flag: "default-envoy-extra-args", Group: groupPods,
			Help: "A line of further arguments for Envoy.",
			bind: func(*Config) value { return text(&d.ExtraArgs) },
		}, {
			Flag: "default-sidecar-proxy-cpu-request", Group: groupPods,
			Help: "The sidecar's CPU request.",
			bind: func(*Config) value { return text(&d.CPURequest, quantity()) },
		}, {
			Flag: "default-sidecar-proxy-cpu-limit", Group: groupPods,
			Help: "The sidecar's CPU limit.",
			bind: func(*Config) value { return text(&d.CPULimit, quantity()) },
		}, {
			Flag: "default-sidecar-proxy-memory-request", Group: groupPods,
			Help: "The sidecar's memory request.",
			bind: func(*Config) value { return text(&d.MemoryRequest, quantity()) },
		}, {
			Flag: "default-sidecar-proxy-memory-limit", Group: groupPods,
			Help: "The sidecar's memory limit.",
			bind: func(*Config) value { return text(&d.MemoryLimit, quantity()) },
		},
	}
}

func (c *Companion) podLifeSettings() []Setting {
	d := &c.Defaults
	const unprivileged = 1024
	return []Setting{
		{
			Flag: "default-enable-sidecar-proxy-lifecycle", Default: "true", Group: groupPods,
			Help: "Give sidecars the graceful endpoints.",
			bind: func(*Config) value { return boolean(&d.Lifecycle) },
		}, {
			Flag: "default-enable-sidecar-proxy-lifecycle-shutdown-drain-listeners", Default: "true", Group: groupPods,
			Help: "Let Envoy drain its listeners during a shutdown.",
			bind: func(*Config) value { return boolean(&d.DrainListeners) },
		}, {
			Flag: "default-sidecar-proxy-lifecycle-shutdown-grace-period-seconds", Default: "30", Group: groupPods,
			Help: "How long a shutdown may take at most, in seconds.",
			bind: func(*Config) value { return seconds(&d.ShutdownGrace, 0) },
		}, {
			Flag: "default-sidecar-proxy-lifecycle-startup-grace-period-seconds", Default: "0", Group: groupPods,
			Help: "How long the startup endpoint waits at most, in seconds.",
			bind: func(*Config) value { return seconds(&d.StartupGrace, 0) },
		}, {
			Flag: "default-sidecar-proxy-lifecycle-graceful-port", Default: "20600", Group: groupPods,
			Help: "The port of the graceful endpoints.",
			bind: func(*Config) value { return number(&d.GracefulPort, unprivileged, maxPort) },
		}, {
			Flag: "default-sidecar-proxy-lifecycle-graceful-shutdown-path", Default: "/graceful_shutdown", Group: groupPods,
			Help: "The path of the shutdown endpoint.",
			bind: func(*Config) value { return text(&d.ShutdownPath, urlPath()) },
		}, {
			Flag: "default-sidecar-proxy-lifecycle-graceful-startup-path", Default: "/graceful_startup", Group: groupPods,
			Help: "The path of the startup endpoint.",
			bind: func(*Config) value { return text(&d.StartupPath, urlPath()) },
		},
	}
}

func (c *Companion) podProbeSettings() []Setting {
	d := &c.Defaults
	return []Setting{
		{
			Flag: "default-use-proxy-health-check", Default: "true", Group: groupPods,
			Help: "Probe the readiness of Envoy over HTTP rather than only its port.",
			bind: func(*Config) value { return boolean(&d.ProxyHealthCheck) },
		}, {
			Flag: "default-sidecar-proxy-startup-failure-seconds", Default: "0", Group: groupPods,
			Help: "After how many seconds without start a sidecar is restarted. 0: no such probe.",
			bind: func(*Config) value { return seconds(&d.StartupFailure, 0) },
		}, {
			Flag: "default-sidecar-proxy-liveness-failure-seconds", Default: "0", Group: groupPods,
			Help: "After how many seconds without health a sidecar is restarted. 0: no such probe.",
			bind: func(*Config) value { return seconds(&d.LivenessFailure, 0) },
		}, {
			Flag: "default-sidecar-initial-probe-check-delay-seconds", Default: "0", Group: groupPods,
			Help: "How long the start-up probe of a native sidecar waits before its first look, in seconds.",
			bind: func(*Config) value { return seconds(&d.ProbeDelay, 0) },
		}, {
			Flag: "default-sidecar-probe-period-seconds", Default: "1", Group: groupPods,
			Help: "The time between two looks of that probe, in seconds.",
			bind: func(*Config) value { return seconds(&d.ProbePeriod, 1) },
		}, {
			Flag: "default-sidecar-probe-failure-threshold", Default: "600", Group: groupPods,
			Help: "After how many looks of that probe the sidecar is restarted.",
			bind: func(*Config) value { return number(&d.ProbeFailures, 1, 1<<20) },
		}, {
			Flag: "default-sidecar-probe-check-timeout-seconds", Default: "5", Group: groupPods,
			Help: "How long one look of that probe may take, in seconds.",
			bind: func(*Config) value { return seconds(&d.ProbeTimeout, 1) },
		},
	}
}
