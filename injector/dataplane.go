// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

// userID is the dataplane's user and group, as in consul-k8s.
const userID = 5995

// The names of the programs in the images, which find them on their PATH.
const (
	programPodplane  = "podplane"
	programDataplane = "consul-dataplane"
)

// dataplane is the container of one service.
func (m *mutation) dataplane(s meshpod.Service) corev1.Container {
	c := corev1.Container{
		Name:            m.names[s.Index],
		Image:           m.cfg.Image,
		ImagePullPolicy: corev1.PullPolicy(m.cfg.PullPolicy),
		Args:            m.arguments(s),
		Env:             m.variables(s),
		Ports:           m.ports(s),
		Resources:       m.mesh.Sidecar.Resources,
		VolumeMounts:    append(m.ownMounts(s), m.mesh.Sidecar.Mounts...),
		SecurityContext: securityContext(),
	}
	m.probes(&c, s)
	if m.native {
		always := corev1.ContainerRestartPolicyAlways
		c.RestartPolicy = &always
	} else if !m.cfg.Compat { // whose program has nothing that waits
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{
			programPodplane, "wait", "-timeout=" + strconv.Itoa(m.startSeconds()) + "s", "-graceful-port=" + strconv.Itoa(s.Ports.Lifecycle),
		}}}}
	}
	return c
}

// securityContext is what Pod Security restricted asks for, and no way to write
// anywhere but into volumes.
func securityContext() *corev1.SecurityContext {
	yes, no, id := true, false, int64(userID)
	return &corev1.SecurityContext{
		RunAsUser: &id, RunAsGroup: &id, RunAsNonRoot: &yes,
		AllowPrivilegeEscalation: &no,
		ReadOnlyRootFilesystem:   &yes,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// ports are named for people and for scrapers that look for names; what listens
// does not depend on them.
func (m *mutation) ports(s meshpod.Service) []corev1.ContainerPort {
	health := s.Ports.Public
	if m.mesh.Probes.ProxyHealthCheck {
		health = s.Ports.Ready
	}
	out := []corev1.ContainerPort{{Name: meshpod.PortHealth + strconv.Itoa(s.Index), ContainerPort: int32(health)}}
	if m.mesh.Metrics.Enabled {
		name := "prometheus"
		if s.Index > 0 {
			name += "-" + strconv.Itoa(s.Index)
		}
		out = append(out, corev1.ContainerPort{Name: name, ContainerPort: int32(s.Ports.Scrape)})
	}
	return out
}
