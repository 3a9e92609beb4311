// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"maps"
	"slices"
	"strings"
)

// known are the annotations that are read, here or by those who use this package.
var known = []string{
	AnnotationInject, AnnotationInjectStatus, AnnotationNative, AnnotationMountVolume, AnnotationUserVolume, AnnotationUserMount,
	AnnotationConcurrency, AnnotationExtraArgs, AnnotationCPURequest, AnnotationCPULimit, AnnotationMemoryRequest, AnnotationMemoryLimit,
	AnnotationService, AnnotationServicePort, AnnotationServiceDefaultPort, AnnotationKubernetesService, AnnotationUpstreams,
	AnnotationTags, AnnotationProxyConfig,
	AnnotationProxyHealthCheck, AnnotationStartupFailureSeconds, AnnotationLivenessFailureSeconds, AnnotationProbeInitialDelay,
	AnnotationProbePeriod, AnnotationProbeFailureThreshold, AnnotationProbeTimeout,
	AnnotationLifecycle, AnnotationDrainListeners, annotationDrainListenersAlias, AnnotationShutdownGrace, AnnotationStartupGrace,
	AnnotationGracefulPort, AnnotationShutdownPath, AnnotationStartupPath,
	AnnotationMetrics, AnnotationMetricsMerging, AnnotationMergePort, AnnotationScrapePort, AnnotationScrapePath,
	AnnotationServiceMetricsPort, AnnotationServiceMetricsPath,
	AnnotationPrometheusCAFile, AnnotationPrometheusCAPath, AnnotationPrometheusCertFile, AnnotationPrometheusKeyFile,
	AnnotationTransparentProxy, AnnotationConsulDNS, AnnotationIDForm, AnnotationConsulNamespace, AnnotationCA,
}

// idle are annotations of consul-k8s that mean nothing here, by what begins
// their names.
var idle = map[string]string{
	"transparent-proxy-":           "has no effect without transparent proxy, which is not supported",
	"redirect-traffic-config":      "has no effect without transparent proxy, which is not supported",
	"dual-stack":                   "has no effect here: it is a note of consul-k8s",
	"original-pod":                 "has no effect here: it is a note of consul-k8s",
	"consul-k8s-version":           "has no effect here: it is a note of consul-k8s",
	"connect-k8s-version":          "has no effect here: it is a note of consul-k8s",
	"consul-sidecar-access-log-":   "has no effect here: consul-k8s sets it by itself",
	"gateway-":                     "has no effect here: gateways are not supported",
	"mesh-gateway-":                "has no effect here: gateways are not supported",
	"peering-":                     "has no effect here: peerings are not supported",
	"telemetry-collector":          "has no effect here: the telemetry collector is not supported",
	"consul-sidecar-cpu-":          "has no effect here: there is no container consul-sidecar",
	"consul-sidecar-memory-":       "has no effect here: there is no container consul-sidecar",
	"connect-service-protocol":     "has no effect: set the protocol in a ServiceDefaults or proxy-defaults entry of Consul",
	"connect-sync-period":          "has no effect here: nothing in the pod registers it",
	"service-sync":                 "is for Kubernetes Services, not for pods",
	"mesh-destinations":            "has no effect here: use " + AnnotationUpstreams,
	"transparent-proxy-status":     "has no effect without transparent proxy, which is not supported",
	"sidecar-proxy-lifecycle-port": "has no effect here: use " + AnnotationGracefulPort,
}

// maxUnknown is how many annotations are warned of one by one: to find what may be
// meant takes a while.
const maxUnknown = 16

// unknown warns of annotations under the mesh's prefix that nobody reads.
func (r *reader) unknown() {
	more := 0
	for _, name := range slices.Sorted(maps.Keys(r.pod.Annotations)) {
		rest, ours := strings.CutPrefix(name, Prefix)
		switch {
		case !ours || slices.Contains(known, name) || strings.HasPrefix(name, AnnotationMetaPrefix):
		case more < maxUnknown:
			more++
			r.problems.Warnf(name, r.pod.Annotations[name], "%s", whyIdle(rest))
		default:
			more++
		}
	}
	if more > maxUnknown {
		r.problems.Warnf(Prefix+"*", "", "begins %d more annotations that are not known and have no effect", more-maxUnknown)
	}
}

func whyIdle(rest string) string {
	for _, start := range slices.Sorted(maps.Keys(idle)) {
		if strings.HasPrefix(rest, start) {
			return idle[start]
		}
	}
	if near := nearest(rest); near != "" {
		return "is not known and has no effect; did you mean " + Prefix + near + "?"
	}
	return "is not known and has no effect"
}

// nearest finds the known name that differs in the fewest letters, if those are
// few.
func nearest(rest string) string {
	if len(rest) > 100 {
		return ""
	}
	best, distance := "", len(rest)/4+1
	for _, name := range known {
		name = strings.TrimPrefix(name, Prefix)
		if d := edits(rest, name); d < distance {
			best, distance = name, d
		}
	}
	return best
}

// edits counts the bytes to insert, delete or replace to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
