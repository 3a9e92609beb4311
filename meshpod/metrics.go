// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"strconv"
	"strings"
)

// Ports below are privileged: the sidecar could not bind them.
const minPort = 1024

// metrics reads what is scraped.
func (r *reader) metrics(p *Pod) {
	d := r.defaults
	most := maxPort - len(p.Services) + 1
	p.Metrics = Metrics{
		Enabled:     r.boolean(AnnotationMetrics, d.Metrics),
		Merging:     r.boolean(AnnotationMetricsMerging, d.MetricsMerging),
		ScrapePort:  r.number(AnnotationScrapePort, d.ScrapePort, minPort, most),
		MergePort:   r.number(AnnotationMergePort, d.MergePort, minPort, most),
		ScrapePath:  r.urlPath(AnnotationScrapePath, d.ScrapePath),
		ServicePath: r.urlPath(AnnotationServiceMetricsPath, d.ServicePath),
		CAFile:      r.filePath(AnnotationPrometheusCAFile),
		CAPath:      r.filePath(AnnotationPrometheusCAPath),
		CertFile:    r.filePath(AnnotationPrometheusCertFile),
		KeyFile:     r.filePath(AnnotationPrometheusKeyFile),
	}
	m := &p.Metrics
	if m.CAFile != "" && m.CAPath != "" {
		r.problems.Errorf(AnnotationPrometheusCAPath, m.CAPath, "contradicts %s: give a file or a folder", AnnotationPrometheusCAFile)
	}
	hasCA := m.CAFile != "" || m.CAPath != ""
	if hasCA != (m.CertFile != "") || hasCA != (m.KeyFile != "") {
		r.problems.Errorf(AnnotationPrometheusCertFile, m.CertFile, "must be given together with %s and %s or %s: all three or none",
			AnnotationPrometheusKeyFile, AnnotationPrometheusCAFile, AnnotationPrometheusCAPath)
	}
	r.serviceMetrics(p)
	m.Merging = m.Merging && m.Enabled
}

// serviceMetrics finds where the application serves its own metrics: one port
// for each service, or one for the first. 0 means nowhere.
func (r *reader) serviceMetrics(p *Pod) {
	given := r.list(AnnotationServiceMetricsPort)
	if len(given) > 1 && len(given) != len(p.Services) {
		r.problems.Errorf(AnnotationServiceMetricsPort, strings.Join(given, ","), "must be one port, or one for each service of %s", AnnotationService)
		return
	}
	for i := range p.Services {
		port := p.Services[i].Port
		if i < len(given) {
			port = r.metricsPort(given[i])
		}
		if p.Metrics.Enabled && p.Metrics.Merging {
			p.Services[i].MetricsPort = port
		}
	}
	if p.Metrics.Merging && p.Services[0].MetricsPort == 0 && len(given) == 0 && p.Metrics.Enabled {
		r.problems.Warnf(AnnotationMetricsMerging, "true", "finds no application to merge: no container has a port, and %s is not set", AnnotationServiceMetricsPort)
	}
}

func (r *reader) metricsPort(value string) int {
	if n, err := strconv.Atoi(value); err == nil && n == 0 {
		return 0
	}
	return r.port(AnnotationServiceMetricsPort, value)
}
