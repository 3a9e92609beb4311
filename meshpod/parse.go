// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Parse reads what a pod asks of the mesh, with d where it says nothing. With
// errors among the problems the Pod is what could be read, fit for messages
// only. The pod is not changed.
func Parse(pod *corev1.Pod, d Defaults) (Pod, Problems) {
	r := &reader{pod: pod, defaults: d.withDefaults()}
	p := Pod{ServiceAccount: pod.Spec.ServiceAccountName}
	if p.ServiceAccount == "" {
		p.ServiceAccount = defaultServiceAccount
	}
	p.IDForm = r.idForm()
	p.KubernetesService = r.kubernetesService()
	p.ConsulNamespace, _ = r.text(AnnotationConsulNamespace)
	r.services(&p)
	r.upstreams(&p)
	p.Tags, p.Meta, p.ProxyConfig = r.tags(), r.meta(), r.proxyConfig()
	r.metrics(&p)
	r.lifecycle(&p)
	r.probes(&p)
	r.sidecar(&p)
	p.bind()
	r.ports(&p)
	r.transparentProxy()
	r.unknown()
	return p, r.problems
}

func (r *reader) idForm() IDForm {
	value, ok := r.text(AnnotationIDForm)
	if !ok {
		return r.defaults.IDForm
	}
	form := IDForm(value)
	if form != IDNamespaced && form != IDCompat {
		r.problems.Errorf(AnnotationIDForm, value, "must be %s or %s", IDNamespaced, IDCompat)
		return IDNamespaced
	}
	return form
}

func (r *reader) kubernetesService() string {
	value, ok := r.text(AnnotationKubernetesService)
	if ok && len(validation.IsDNS1035Label(value)) > 0 && len(validation.IsDNS1123Label(value)) > 0 {
		r.problems.Errorf(AnnotationKubernetesService, value, "must be the name of a Kubernetes Service")
	}
	return value
}

// transparentProxy refuses a pod that counts on traffic being redirected: it
// would run with its traffic outside of the mesh.
func (r *reader) transparentProxy() {
	if r.boolean(AnnotationTransparentProxy, false) {
		r.problems.Errorf(AnnotationTransparentProxy, r.pod.Annotations[AnnotationTransparentProxy],
			"is not supported yet: list the pod's upstreams in %s, and set this to false", AnnotationUpstreams)
	}
	if r.boolean(AnnotationConsulDNS, false) {
		r.problems.Warnf(AnnotationConsulDNS, r.pod.Annotations[AnnotationConsulDNS], "has no effect without transparent proxy, which is not supported yet")
	}
}
