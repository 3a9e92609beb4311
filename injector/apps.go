// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

// applications tells the pod's own containers where the upstreams are, and gives
// the volume to those that asked for it.
func (m *mutation) applications() {
	upstreams := upstreamVariables(m.mesh.Upstreams)
	m.containers(func(path string, c *corev1.Container) {
		// In front, so that a container's own variables can have them in their values.
		before(&m.patch, path+"/env", len(c.Env), slices.DeleteFunc(slices.Clone(upstreams), func(v corev1.EnvVar) bool {
			return slices.ContainsFunc(c.Env, func(own corev1.EnvVar) bool { return own.Name == v.Name })
		}))
		if slices.Contains(m.mesh.Sidecar.MountVolume, c.Name) {
			behind(&m.patch, path+"/volumeMounts", len(c.VolumeMounts), []corev1.VolumeMount{{Name: volumeData, MountPath: dataPath}})
		}
	})
}

// upstreamVariables are the two for each upstream; of several with the same names
// the first has them.
func upstreamVariables(upstreams []meshpod.Upstream) []corev1.EnvVar {
	var out []corev1.EnvVar
	seen := map[string]bool{}
	for _, u := range upstreams {
		name := u.Variable()
		if seen[name] {
			continue
		}
		seen[name] = true
		out = append(out,
			corev1.EnvVar{Name: name + "_CONNECT_SERVICE_HOST", Value: u.Host()},
			corev1.EnvVar{Name: name + "_CONNECT_SERVICE_PORT", Value: strconv.Itoa(u.LocalPort)})
	}
	return out
}

// What Prometheus, as it is usually set up, looks for on pods.
const (
	prometheusScrape = "prometheus.io/scrape"
	prometheusPath   = "prometheus.io/path"
	prometheusPort   = "prometheus.io/port"
)

// defaultContainer is the container that kubectl means if none is named:
// https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-default-container.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// annotations are all that the pod gets. Those of the user's that say something
// stay as they are.
func (m *mutation) annotations() map[string]string {
	out := m.notes()
	for _, more := range []map[string]string{m.resolved(), m.scraped(), m.shown()} {
		for name, value := range more {
			if strings.TrimSpace(m.pod.Annotations[name]) == "" {
				out[name] = value
			}
		}
	}
	return out
}

// resolved are the defaults by which the dataplane was made, as far as the
// registrar needs them too: it may have others when it reads the pod.
func (m *mutation) resolved() map[string]string {
	first := m.mesh.Services[0].Ports
	return map[string]string{
		meshpod.AnnotationMetrics:          strconv.FormatBool(m.mesh.Metrics.Enabled),
		meshpod.AnnotationMetricsMerging:   strconv.FormatBool(m.mesh.Metrics.Merging),
		meshpod.AnnotationScrapePort:       strconv.Itoa(first.Scrape),
		meshpod.AnnotationMergePort:        strconv.Itoa(first.Merge),
		meshpod.AnnotationLifecycle:        strconv.FormatBool(m.mesh.Lifecycle.Enabled),
		meshpod.AnnotationShutdownGrace:    strconv.Itoa(m.mesh.Lifecycle.ShutdownGrace),
		meshpod.AnnotationGracefulPort:     strconv.Itoa(first.Lifecycle),
		meshpod.AnnotationProxyHealthCheck: strconv.FormatBool(m.mesh.Probes.ProxyHealthCheck),
	}
}

// shown is for kubectl, which would take the first container, the dataplane's, if
// none is named.
func (m *mutation) shown() map[string]string {
	if m.native {
		return nil
	}
	return map[string]string{defaultContainer: m.pod.Spec.Containers[0].Name}
}

// notes are what the registrar, the kubelet and people are told.
func (m *mutation) notes() map[string]string {
	out := map[string]string{
		meshpod.AnnotationInjectStatus: meshpod.StatusInjected,
		meshpod.AnnotationIDForm:       string(m.cfg.Defaults.IDForm),
	}
	if namespace := m.cfg.Destination.For(m.namespace); namespace != "" {
		out[meshpod.AnnotationConsulNamespace] = namespace
	}
	if m.hasCA() {
		out[meshpod.AnnotationCA] = m.cfg.Consul.CA
	}
	return out
}

// scraped says where the pod's metrics are; of several services those of the
// first, because there is but one annotation.
func (m *mutation) scraped() map[string]string {
	if !m.mesh.Metrics.Enabled {
		return nil
	}
	return map[string]string{
		prometheusScrape: "true",
		prometheusPath:   m.mesh.Metrics.ScrapePath,
		prometheusPort:   strconv.Itoa(m.mesh.Services[0].Ports.Scrape),
	}
}

// checkScraped warns if Prometheus will not find the dataplane's metrics, because
// the pod says where to look.
func (m *mutation) checkScraped() {
	for _, name := range []string{prometheusScrape, prometheusPath, prometheusPort} {
		want := m.scraped()[name]
		if own := strings.TrimSpace(m.pod.Annotations[name]); own != "" && want != "" && own != want {
			m.problems.Warnf(name, own, "is left as it is: the dataplane's metrics need %s", want)
		}
	}
}
