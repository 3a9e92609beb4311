// SPDX-License-Identifier: MPL-2.0

package injector

import (
	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

// variables are what a dataplane learns of where it runs. A pod may have no name
// yet, so names are put together by the kubelet.
func (m *mutation) variables(s meshpod.Service) []corev1.EnvVar {
	out := append([]corev1.EnvVar{{Name: "TMPDIR", Value: dataPath}}, ownVariables()...)
	out = append(out,
		field("POD_UID", "metadata.uid"),
		field("NODE_NAME", "spec.nodeName"),
		field("HOST_IP", "status.hostIP"))
	node := "$(NODE_NAME)" + literal(m.cfg.NodeSuffix)
	if m.cfg.Compat {
		out = append(out, corev1.EnvVar{Name: "DP_SERVICE_NODE_NAME", Value: node})
	} else {
		namespace, name := meshpod.Own()
		out = append(out,
			corev1.EnvVar{Name: "DP_PROXY_NODE_NAME", Value: node},
			corev1.EnvVar{Name: "DP_PROXY_ID", Value: m.mesh.ProxyID(namespace, name, s)})
	}
	if m.mesh.Probes.ProxyHealthCheck {
		out = append(out, field("DP_ENVOY_READY_BIND_ADDRESS", "status.podIP"))
	}
	if m.cfg.Login.AuthMethod != "" {
		// By these the registrar finds the tokens of pods that are gone.
		out = append(out,
			corev1.EnvVar{Name: "DP_CREDENTIAL_LOGIN_META1", Value: "pod=$(POD_NAMESPACE)/$(POD_NAME)"},
			corev1.EnvVar{Name: "DP_CREDENTIAL_LOGIN_META2", Value: "pod-uid=$(POD_UID)"})
	}
	return out
}

// ownVariables are those that [meshpod.Own] stands for.
func ownVariables() []corev1.EnvVar {
	return []corev1.EnvVar{field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")}
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: fieldRef(path)}}
}
