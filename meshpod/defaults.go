// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// Defaults are what holds for pods whose annotations say nothing. The zero value
// is valid: everything optional is off. See [Standard].
type Defaults struct {
	IDForm IDForm

	Metrics        bool
	MetricsMerging bool
	// ScrapePort defaults to 20200, MergePort to 20100, both paths to /metrics.
	ScrapePort, MergePort   int
	ScrapePath, ServicePath string

	Lifecycle      bool
	DrainListeners bool
	// ShutdownGrace and StartupGrace are in seconds.
	ShutdownGrace, StartupGrace int
	// GracefulPort defaults to 20600, the paths to podplane's own.
	GracefulPort              int
	ShutdownPath, StartupPath string

	ProxyHealthCheck bool
	// StartupFailure and LivenessFailure are in seconds; 0 means no such probe.
	StartupFailure, LivenessFailure int
	// The start-up probe of a native sidecar, in seconds. InitialDelay defaults to
	// 0, Period to 1, Timeout to 5, FailureThreshold to 600: ten minutes for a
	// dataplane whose Consul is away.
	InitialDelay, Period, FailureThreshold, Timeout int

	// Concurrency is the number of Envoy's worker threads. Defaults to 2.
	Concurrency int
	// ExtraArgs are a line of arguments for Envoy, split as a shell would.
	ExtraArgs string
	Resources corev1.ResourceRequirements
}

// Standard returns the defaults that the companion ships with.
func Standard() Defaults {
	return Defaults{
		Lifecycle: true, DrainListeners: true, ShutdownGrace: 30,
		ProxyHealthCheck: true,
	}.withDefaults()
}

func (d Defaults) withDefaults() Defaults {
	if d.IDForm == "" {
		d.IDForm = IDNamespaced
	}
	for _, n := range []struct {
		field *int
		value int
	}{
		{&d.ScrapePort, portScrape},
		{&d.MergePort, portMerge},
		{&d.GracefulPort, portLifecycle},
		{&d.Period, 1},
		{&d.FailureThreshold, 600},
		{&d.Timeout, 5},
		{&d.Concurrency, 2},
	} {
		if *n.field == 0 {
			*n.field = n.value
		}
	}
	for _, s := range []struct {
		field *string
		value string
	}{
		{&d.ScrapePath, "/metrics"},
		{&d.ServicePath, "/metrics"},
		{&d.ShutdownPath, "/graceful_shutdown"},
		{&d.StartupPath, "/graceful_startup"},
	} {
		if *s.field == "" {
			*s.field = s.value
		}
	}
	return d
}

// Validate reports every mistake at once: what would be refused as an annotation
// is refused as a default too, and named like it.
func (d Defaults) Validate() error {
	pod := &corev1.Pod{}
	// Whether a pod has a name for its service, as the form compat needs, is no matter of defaults.
	pod.Spec.ServiceAccountName = "any"
	pod.Annotations = d.withDefaults().annotations()
	_, problems := Parse(pod, Defaults{Resources: d.Resources})
	return problems.Err()
}

// annotations says the defaults in a pod's words.
func (d Defaults) annotations() map[string]string {
	return map[string]string{
		AnnotationIDForm:                 string(d.IDForm),
		AnnotationMetrics:                strconv.FormatBool(d.Metrics),
		AnnotationMetricsMerging:         strconv.FormatBool(d.MetricsMerging),
		AnnotationScrapePort:             itoa(d.ScrapePort),
		AnnotationMergePort:              itoa(d.MergePort),
		AnnotationScrapePath:             d.ScrapePath,
		AnnotationServiceMetricsPath:     d.ServicePath,
		AnnotationLifecycle:              strconv.FormatBool(d.Lifecycle),
		AnnotationDrainListeners:         strconv.FormatBool(d.DrainListeners),
		AnnotationShutdownGrace:          itoa(d.ShutdownGrace),
		AnnotationStartupGrace:           itoa(d.StartupGrace),
		AnnotationGracefulPort:           itoa(d.GracefulPort),
		AnnotationShutdownPath:           d.ShutdownPath,
		AnnotationStartupPath:            d.StartupPath,
		AnnotationProxyHealthCheck:       strconv.FormatBool(d.ProxyHealthCheck),
		AnnotationStartupFailureSeconds:  itoa(d.StartupFailure),
		AnnotationLivenessFailureSeconds: itoa(d.LivenessFailure),
		AnnotationProbeInitialDelay:      itoa(d.InitialDelay),
		AnnotationProbePeriod:            itoa(d.Period),
		AnnotationProbeFailureThreshold:  itoa(d.FailureThreshold),
		AnnotationProbeTimeout:           itoa(d.Timeout),
		AnnotationConcurrency:            itoa(d.Concurrency),
		AnnotationExtraArgs:              d.ExtraArgs,
	}
}
