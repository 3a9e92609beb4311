// SPDX-License-Identifier: MPL-2.0

package meshpod

import corev1 "k8s.io/api/core/v1"

// Pod is what a pod asks of the mesh.
type Pod struct {
	// Services are what the pod is in the mesh, one dataplane each; at least one.
	Services []Service
	// KubernetesService is the only Kubernetes Service that counts for the pod;
	// empty means any.
	KubernetesService string
	// ServiceAccount is never empty.
	ServiceAccount string
	// Upstreams are those of the first service.
	Upstreams []Upstream
	// Tags and Meta are for every service and its proxy, as written: see TagsOf
	// and MetaOf.
	Tags []string
	Meta map[string]string
	// ProxyConfig is opaque configuration of every proxy; nil if there is none.
	ProxyConfig map[string]any
	// ConsulNamespace is what the webhook noted; empty before injection and where
	// Consul has no namespaces.
	ConsulNamespace string
	IDForm          IDForm

	Metrics   Metrics
	Lifecycle Lifecycle
	Probes    Probes
	Sidecar   Sidecar
}

// Service is one service of a pod.
type Service struct {
	// Index counts the pod's services from 0.
	Index int
	// Name is the name in the mesh if the annotation gives one, else empty: see
	// [Pod.NameOf].
	Name string
	// Port is where the application listens; 0 if the service takes no
	// connections.
	Port int
	// MetricsPort is where the application serves its own metrics; 0 if it does
	// not, or nothing is merged.
	MetricsPort int
	// Ports are those of its dataplane.
	Ports Ports
}

// Ports are what one dataplane and its Envoy bind in the pod. For the service
// with index i, each is i more than for the first.
type Ports struct {
	// Public is Envoy's mTLS listener.
	Public int
	// Admin, Lifecycle and Merge are on loopback.
	Admin, Lifecycle, Merge int
	// Ready is Envoy's /ready listener.
	Ready int
	// Scrape is Envoy's Prometheus listener.
	Scrape int
}

// Metrics says what is scraped, and where.
type Metrics struct {
	// Enabled gives Envoy a Prometheus listener.
	Enabled bool
	// Merging adds the application's own metrics to it.
	Merging bool
	// ScrapePort and MergePort are those of the first service.
	ScrapePort, MergePort int
	// ScrapePath is Envoy's, ServicePath the application's.
	ScrapePath, ServicePath string
	// CAFile or CAPath, CertFile and KeyFile are paths in the sidecar for TLS on
	// Envoy's Prometheus listener: all or none.
	CAFile, CAPath, CertFile, KeyFile string
}

// Lifecycle says how the dataplane starts and ends. All times are in seconds.
type Lifecycle struct {
	// Enabled says whether the other settings but Port hold.
	Enabled        bool
	DrainListeners bool
	// ShutdownGrace and StartupGrace are in seconds.
	ShutdownGrace, StartupGrace int
	// Port is that of the first service.
	Port                      int
	ShutdownPath, StartupPath string
}

// Probes are how the kubelet looks at the sidecar. All times are in seconds.
type Probes struct {
	// ProxyHealthCheck asks Envoy's /ready listener instead of connecting to its
	// public listener.
	ProxyHealthCheck bool
	// StartupFailure and LivenessFailure are for how long the probe may fail; 0
	// means that there is no such probe.
	StartupFailure, LivenessFailure int
	// The start-up probe of a native sidecar.
	InitialDelay, Period, FailureThreshold, Timeout int
}

// Sidecar is how the dataplane's container looks.
type Sidecar struct {
	// Native decides between an init container that keeps running and an ordinary
	// container; nil leaves it to the webhook.
	Native *bool
	// Concurrency is the number of Envoy's worker threads; 0 is one per core.
	Concurrency int
	// ExtraArgs go to Envoy.
	ExtraArgs []string
	Resources corev1.ResourceRequirements
	// Volumes are added to the pod, Mounts to the sidecar.
	Volumes []corev1.Volume
	Mounts  []corev1.VolumeMount
	// MountVolume names the pod's containers that get the sidecar's volume.
	MountVolume []string
}

// podNameVariable is replaced, if it is all of a tag or meta value, by the pod's
// name.
const podNameVariable = "$POD_NAME"

// TagsOf returns the tags for the pod of that name, which has none yet at
// admission.
func (p Pod) TagsOf(podName string) []string {
	var tags []string
	for _, tag := range p.Tags {
		tags = append(tags, expand(tag, podName))
	}
	return tags
}

// MetaOf returns a copy of the meta for the pod of that name.
func (p Pod) MetaOf(podName string) map[string]string {
	meta := make(map[string]string, len(p.Meta))
	for key, value := range p.Meta {
		meta[key] = expand(value, podName)
	}
	return meta
}

func expand(value, podName string) string {
	if value == podNameVariable {
		return podName
	}
	return value
}

// NameOf is the name of a service in the mesh: what the annotation says, else
// the Kubernetes Service that the caller found for the pod (empty if none), else
// the ServiceAccount. It is empty if none of them names it: the ServiceAccount
// "default" does not, because unrelated pods share it, and neither does one whose
// name Consul cannot take.
func (p Pod) NameOf(s Service, kubernetesService string) string {
	switch {
	case s.Name != "":
		return s.Name
	case kubernetesService != "" && p.IDForm != IDCompat:
		return kubernetesService
	default:
		return p.accountName()
	}
}

func (p Pod) accountName() string {
	if p.ServiceAccount == defaultServiceAccount || !validServiceName(p.ServiceAccount) {
		return ""
	}
	return p.ServiceAccount
}

// PrometheusBindAddr is the proxy-config value envoy_prometheus_bind_addr of a
// service; empty if metrics are off.
func (p Pod) PrometheusBindAddr(s Service) string {
	if !p.Metrics.Enabled {
		return ""
	}
	return "0.0.0.0:" + itoa(s.Ports.Scrape)
}
