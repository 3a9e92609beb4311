// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"podplane/config"
	"podplane/meshpod"
)

// Destination says which Consul namespaces pods are in.
func Destination(c *config.Companion) meshpod.Destination {
	t := c.Tenancy
	return meshpod.Destination{Enabled: t.Namespaces, Namespace: t.Destination, Mirror: t.Mirroring, Prefix: t.MirroringPrefix}
}

// PodDefaults are what holds for pods whose annotations say nothing. The error
// names the setting that is no default for a pod.
func PodDefaults(c *config.Companion) (meshpod.Defaults, error) {
	d := c.Defaults
	seconds := func(d time.Duration) int { return int(d / time.Second) }
	out := meshpod.Defaults{
		IDForm:           meshpod.IDNamespaced,
		Metrics:          d.Metrics,
		MetricsMerging:   d.MetricsMerging,
		ScrapePort:       d.ScrapePort,
		MergePort:        d.MergePort,
		ScrapePath:       d.ScrapePath,
		ServicePath:      d.ServiceMetricsPath,
		Lifecycle:        d.Lifecycle,
		DrainListeners:   d.DrainListeners,
		ShutdownGrace:    seconds(d.ShutdownGrace),
		StartupGrace:     seconds(d.StartupGrace),
		GracefulPort:     d.GracefulPort,
		ShutdownPath:     d.ShutdownPath,
		StartupPath:      d.StartupPath,
		ProxyHealthCheck: d.ProxyHealthCheck,
		InitialDelay:     seconds(d.ProbeDelay),
		Period:           seconds(d.ProbePeriod),
		Timeout:          seconds(d.ProbeTimeout),
		FailureThreshold: d.ProbeFailures,
		StartupFailure:   seconds(d.StartupFailure),
		LivenessFailure:  seconds(d.LivenessFailure),
		Concurrency:      d.Concurrency,
		ExtraArgs:        d.ExtraArgs,
	}
	if c.Inject.Compat {
		out.IDForm = meshpod.IDCompat
	}
	for _, r := range []struct {
		flag, text string
		list       *corev1.ResourceList
		name       corev1.ResourceName
	}{
		{"default-sidecar-proxy-cpu-request", d.CPURequest, &out.Resources.Requests, corev1.ResourceCPU},
		{"default-sidecar-proxy-cpu-limit", d.CPULimit, &out.Resources.Limits, corev1.ResourceCPU},
		{"default-sidecar-proxy-memory-request", d.MemoryRequest, &out.Resources.Requests, corev1.ResourceMemory},
		{"default-sidecar-proxy-memory-limit", d.MemoryLimit, &out.Resources.Limits, corev1.ResourceMemory},
	} {
		if r.text == "" {
			continue
		}
		q, err := resource.ParseQuantity(r.text)
		if err != nil {
			return out, fmt.Errorf("-%s: %q: %w", r.flag, r.text, err)
		}
		if *r.list == nil {
			*r.list = corev1.ResourceList{}
		}
		(*r.list)[r.name] = q
	}
	return out, out.Validate()
}
