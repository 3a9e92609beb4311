// SPDX-License-Identifier: MPL-2.0

package meshpod

// Prefix begins the name of every annotation and label of the mesh.
const Prefix = "consul.hashicorp.com/"

// Whether and how a pod is injected.
const (
	AnnotationInject       = Prefix + "connect-inject"
	AnnotationInjectStatus = Prefix + "connect-inject-status"
	AnnotationNative       = Prefix + "enable-consul-dataplane-as-sidecar"
	AnnotationMountVolume  = Prefix + "connect-inject-mount-volume"
	AnnotationUserVolume   = Prefix + "consul-sidecar-user-volume"
	AnnotationUserMount    = Prefix + "consul-sidecar-user-volume-mount"
	AnnotationConcurrency  = Prefix + "consul-envoy-proxy-concurrency"
	AnnotationExtraArgs    = Prefix + "envoy-extra-args"

	AnnotationCPURequest    = Prefix + "sidecar-proxy-cpu-request"
	AnnotationCPULimit      = Prefix + "sidecar-proxy-cpu-limit"
	AnnotationMemoryRequest = Prefix + "sidecar-proxy-memory-request"
	AnnotationMemoryLimit   = Prefix + "sidecar-proxy-memory-limit"
)

// What the pod is in the mesh.
const (
	AnnotationService            = Prefix + "connect-service"
	AnnotationServicePort        = Prefix + "connect-service-port"
	AnnotationServiceDefaultPort = Prefix + "connect-service-default-port"
	AnnotationKubernetesService  = Prefix + "kubernetes-service"
	AnnotationUpstreams          = Prefix + "connect-service-upstreams"
	AnnotationTags               = Prefix + "service-tags"
	AnnotationMetaPrefix         = Prefix + "service-meta-"
	AnnotationProxyConfig        = Prefix + "proxy-config-map"
)

// Probes of the sidecar.
const (
	AnnotationProxyHealthCheck       = Prefix + "use-proxy-health-check"
	AnnotationStartupFailureSeconds  = Prefix + "sidecar-proxy-startup-failure-seconds"
	AnnotationLivenessFailureSeconds = Prefix + "sidecar-proxy-liveness-failure-seconds"
	AnnotationProbeInitialDelay      = Prefix + "sidecar-initial-probe-check-delay-seconds"
	AnnotationProbePeriod            = Prefix + "sidecar-probe-period-seconds"
	AnnotationProbeFailureThreshold  = Prefix + "sidecar-probe-failure-threshold"
	AnnotationProbeTimeout           = Prefix + "sidecar-probe-check-timeout-seconds"
)

// The pod's lifecycle.
const (
	AnnotationLifecycle      = Prefix + "enable-sidecar-proxy-lifecycle"
	AnnotationDrainListeners = Prefix + "enable-sidecar-proxy-lifecycle-shutdown-drain-listeners"
	// annotationDrainListenersAlias is the name that HashiCorp's documentation gives.
	annotationDrainListenersAlias = Prefix + "enable-sidecar-proxy-shutdown-drain-listeners"
	AnnotationShutdownGrace       = Prefix + "sidecar-proxy-lifecycle-shutdown-grace-period-seconds"
	AnnotationStartupGrace        = Prefix + "sidecar-proxy-lifecycle-startup-grace-period-seconds"
	AnnotationGracefulPort        = Prefix + "sidecar-proxy-lifecycle-graceful-port"
	AnnotationShutdownPath        = Prefix + "sidecar-proxy-lifecycle-graceful-shutdown-path"
	AnnotationStartupPath         = Prefix + "sidecar-proxy-lifecycle-graceful-startup-path"
)

// Metrics.
const (
	AnnotationMetrics            = Prefix + "enable-metrics"
	AnnotationMetricsMerging     = Prefix + "enable-metrics-merging"
	AnnotationMergePort          = Prefix + "merged-metrics-port"
	AnnotationScrapePort         = Prefix + "prometheus-scrape-port"
	AnnotationScrapePath         = Prefix + "prometheus-scrape-path"
	AnnotationServiceMetricsPort = Prefix + "service-metrics-port"
	AnnotationServiceMetricsPath = Prefix + "service-metrics-path"
	AnnotationPrometheusCAFile   = Prefix + "prometheus-ca-file"
	AnnotationPrometheusCAPath   = Prefix + "prometheus-ca-path"
	AnnotationPrometheusCertFile = Prefix + "prometheus-cert-file"
	AnnotationPrometheusKeyFile  = Prefix + "prometheus-key-file"
)

// Transparent proxy.
const (
	AnnotationTransparentProxy = Prefix + "transparent-proxy"
	AnnotationConsulDNS        = Prefix + "consul-dns"
)

// What the webhook writes into a pod, for the registrar and for people.
const (
	// AnnotationIDForm is the form of the pod's service IDs, an [IDForm].
	AnnotationIDForm = Prefix + "proxy-id-form"
	// AnnotationConsulNamespace is the Consul namespace of the pod's services.
	AnnotationConsulNamespace = Prefix + "consul-namespace"
	// AnnotationCA holds the authorities of the Consul servers in PEM, which a
	// volume shows to the sidecar as a file.
	AnnotationCA = Prefix + "consul-ca-pem"
)

// Labels.
const (
	LabelInjectStatus  = Prefix + "connect-inject-status"
	LabelManagedBy     = Prefix + "connect-inject-managed-by"
	LabelServiceIgnore = Prefix + "service-ignore"
)

// StatusInjected is the value of [LabelInjectStatus] and
// [AnnotationInjectStatus] on an injected pod.
const StatusInjected = "injected"

// NodeSuffix is what makes the name of the catalog's synthetic node of the name
// of the Kubernetes node, unless configured otherwise.
const NodeSuffix = "-virtual"

// Names of containers that the webhook adds. Those of a pod with several
// services have "-" and the service's name behind.
const (
	ContainerDataplane = "consul-dataplane"
	ContainerCompat    = "consul-connect-inject-init"
)
