// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

// The volumes of the dataplane and where they are in its container.
const (
	// volumeData is memory that containers of the pod may share with the
	// dataplane, at the path that consul-k8s has for it.
	volumeData = "consul-connect-inject-data"
	dataPath   = "/consul/connect-inject"
	// volumeConsul holds what it takes to talk to the Consul servers.
	volumeConsul = "consul-dataplane-consul"
	consulPath   = "/consul/dataplane"
	// volumeLogin begins the names of volumes with further bearer tokens, behind
	// which is the index of the service.
	volumeLogin = "consul-dataplane-login-"
	loginPath   = "/consul/login"
)

const (
	fileCA    = "ca.pem"
	fileToken = "token" // as in Secrets of service account tokens
)

// hasCA tells whether the pod gets the authorities of the Consul servers.
func (m *mutation) hasCA() bool { return m.cfg.Consul.CA != "" && !m.cfg.Consul.TLSDisabled }

// ownToken tells whether a dataplane logs in with a token of the pod's
// ServiceAccount. Another service than the first is another ServiceAccount's, as
// in consul-k8s, whose token a pod can only have from a Secret; unless the pod's
// has the service's name.
func (m *mutation) ownToken(s meshpod.Service) bool {
	return s.Index == 0 || s.Name == m.mesh.ServiceAccount
}

// volumes are all that the pod gets.
func (m *mutation) volumes() []corev1.Volume {
	return append(m.ownVolumes(), m.mesh.Sidecar.Volumes...)
}

func (m *mutation) ownVolumes() []corev1.Volume {
	out := []corev1.Volume{{
		Name:         volumeData,
		VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}},
	}}
	if sources := m.consulSources(); len(sources) > 0 {
		out = append(out, corev1.Volume{
			Name: volumeConsul, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}},
		})
	}
	for _, s := range m.mesh.Services {
		if m.cfg.Login.AuthMethod == "" || m.ownToken(s) {
			continue
		}
		out = append(out, corev1.Volume{
			Name: volumeLogin + strconv.Itoa(s.Index),
			VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: s.Name, Items: []corev1.KeyToPath{{Key: fileToken, Path: fileToken}},
			}},
		})
	}
	return out
}

// consulSources do not depend on the pod's other volumes, so that a pod without
// automountServiceAccountToken can log in too, and with a token whose audience
// can be Consul alone.
func (m *mutation) consulSources() []corev1.VolumeProjection {
	var out []corev1.VolumeProjection
	if m.hasCA() {
		out = append(out, corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{
			Items: []corev1.DownwardAPIVolumeFile{{
				Path: fileCA, FieldRef: fieldRef("metadata.annotations['" + meshpod.AnnotationCA + "']"),
			}},
		}})
	}
	if m.cfg.Login.AuthMethod != "" {
		out = append(out, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: m.cfg.Login.Audience, ExpirationSeconds: &m.cfg.Login.ExpirySeconds, Path: fileToken,
		}})
	}
	return out
}

// ownMounts are those of one dataplane without what the user adds.
func (m *mutation) ownMounts(s meshpod.Service) []corev1.VolumeMount {
	out := []corev1.VolumeMount{{Name: volumeData, MountPath: dataPath}}
	if len(m.consulSources()) > 0 {
		out = append(out, corev1.VolumeMount{Name: volumeConsul, MountPath: consulPath, ReadOnly: true})
	}
	if m.cfg.Login.AuthMethod != "" && !m.ownToken(s) {
		out = append(out, corev1.VolumeMount{Name: volumeLogin + strconv.Itoa(s.Index), MountPath: loginPath, ReadOnly: true})
	}
	return out
}

func (m *mutation) tokenFile(s meshpod.Service) string {
	if m.ownToken(s) {
		return consulPath + "/" + fileToken
	}
	return loginPath + "/" + fileToken
}

func fieldRef(path string) *corev1.ObjectFieldSelector {
	return &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}
}
