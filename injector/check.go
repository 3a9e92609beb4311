// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"podplane/meshpod"
)

// check looks for what the pod and the dataplane cannot both have.
func (m *mutation) check() {
	if m.pod.Spec.OS != nil && m.pod.Spec.OS.Name != corev1.Linux {
		m.problems.Errorf("spec.os.name", string(m.pod.Spec.OS.Name), "is not linux, for which the dataplane is")
	}
	for _, name := range []string{meshpod.AnnotationIDForm, meshpod.AnnotationConsulNamespace, meshpod.AnnotationCA} {
		if value, there := m.pod.Annotations[name]; there && value != m.notes()[name] {
			m.problems.Errorf(name, value, "is written by podplane-injector and must not be set")
		}
	}
	m.checkContainers()
	m.checkSize()
	m.checkUser()
	m.checkVolumes()
	m.checkAccount()
	m.checkScraped()
}

// containers are the pod's own, with the path of the field that holds them.
func (m *mutation) containers(do func(path string, c *corev1.Container)) {
	for i := range m.pod.Spec.InitContainers {
		do("/spec/initContainers/"+strconv.Itoa(i), &m.pod.Spec.InitContainers[i])
	}
	for i := range m.pod.Spec.Containers {
		do("/spec/containers/"+strconv.Itoa(i), &m.pod.Spec.Containers[i])
	}
}

func (m *mutation) checkContainers() {
	var all []string
	m.containers(func(_ string, c *corev1.Container) {
		all = append(all, c.Name)
		if meshpod.OwnContainer(c.Name) {
			m.problems.Errorf("container", c.Name, "has a name of those that podplane-injector gives to its own")
		}
		if slices.Contains(m.mesh.Sidecar.MountVolume, c.Name) {
			for _, mount := range c.VolumeMounts {
				if path.Clean(mount.MountPath) == dataPath {
					m.problems.Errorf(meshpod.AnnotationMountVolume, c.Name, "is a container that has something else at %s", dataPath)
				}
			}
		}
	})
	for _, name := range m.mesh.Sidecar.MountVolume {
		if !slices.Contains(all, name) {
			m.problems.Errorf(meshpod.AnnotationMountVolume, name, "is no container of the pod, which has %s", strings.Join(all, ", "))
		}
	}
}

// maxVariables bounds what a pod gets, which its object must have room for, and
// the companion memory.
const maxVariables = 1 << 14

// checkSize refuses a pod whose every container would get so many variables that
// the pod would be too large.
func (m *mutation) checkSize() {
	containers, upstreams := containersOf(&m.pod), len(m.mesh.Upstreams)
	if n := 2 * containers * upstreams; n > maxVariables {
		m.problems.Errorf(meshpod.AnnotationUpstreams, strconv.Itoa(upstreams)+" upstreams",
			"are too many for %d containers: they would get %d variables, and at most %d are allowed", containers, n, maxVariables)
	}
}

// checkUser refuses applications with the dataplane's user, whose processes and
// files would be theirs.
func (m *mutation) checkUser() {
	const reason = "is the user of the dataplane: applications must have another"
	if s := m.pod.Spec.SecurityContext; s != nil && s.RunAsUser != nil && *s.RunAsUser == userID {
		m.problems.Errorf("spec.securityContext.runAsUser", strconv.Itoa(userID), reason)
	}
	m.containers(func(_ string, c *corev1.Container) {
		if s := c.SecurityContext; s != nil && s.RunAsUser != nil && *s.RunAsUser == userID {
			m.problems.Errorf("securityContext.runAsUser of container "+c.Name, strconv.Itoa(userID), reason)
		}
	})
}

// checkVolumes refuses names that are taken.
func (m *mutation) checkVolumes() {
	taken := map[string]bool{}
	for _, v := range m.pod.Spec.Volumes {
		taken[v.Name] = true
	}
	for _, v := range m.ownVolumes() {
		if taken[v.Name] {
			m.problems.Errorf("volume", v.Name, "has the name of a volume that podplane-injector adds")
		}
		taken[v.Name] = true
	}
	for _, v := range m.mesh.Sidecar.Volumes {
		switch {
		case len(validation.IsDNS1123Label(v.Name)) > 0:
			m.problems.Errorf(meshpod.AnnotationUserVolume, v.Name, "must have a name of lower-case letters, digits and -")
		case taken[v.Name]:
			m.problems.Errorf(meshpod.AnnotationUserVolume, v.Name, "has a name that another volume of the pod has")
		}
		taken[v.Name] = true
	}
	m.checkMounts(taken)
}

// checkMounts refuses mounts of the sidecar that nobody has a volume for or that
// hide its own.
func (m *mutation) checkMounts(volumes map[string]bool) {
	if slices.ContainsFunc(m.problems.Errors, func(p meshpod.Problem) bool { return p.Name == meshpod.AnnotationUserMount }) {
		return // they could not be read
	}
	var at []string
	for _, mount := range m.ownMounts(m.mesh.Services[0]) {
		at = append(at, mount.MountPath)
	}
	for _, mount := range m.mesh.Sidecar.Mounts {
		where := path.Clean(mount.MountPath)
		switch {
		case !volumes[mount.Name]:
			m.problems.Errorf(meshpod.AnnotationUserMount, mount.Name, "names no volume of the pod")
		case !path.IsAbs(where) || where == "/" || strings.Contains(mount.MountPath, ":"):
			m.problems.Errorf(meshpod.AnnotationUserMount, mount.MountPath, "must be an absolute path that is not / and has no colon")
		case slices.ContainsFunc(at, func(other string) bool { return within(where, other) || within(other, where) }):
			m.problems.Errorf(meshpod.AnnotationUserMount, mount.MountPath, "overlaps another mount of the dataplane")
		}
		at = append(at, where)
	}
}

// within tells whether an absolute path is a folder or in it.
func within(inner, folder string) bool {
	return inner == folder || strings.HasPrefix(inner, folder+"/")
}

// anyAccount says what to do for those who know better.
const anyAccount = "if binding rules of your own say otherwise, set -any-service-account of podplane-injector"

// checkAccount refuses a pod whose dataplane Consul would refuse for as long as
// it runs: with the usual binding rule, a ServiceAccount is the service of its
// name.
func (m *mutation) checkAccount() {
	if m.cfg.Login.AuthMethod == "" || m.cfg.Login.AnyAccount {
		return
	}
	first := m.mesh.Services[0]
	switch account := m.mesh.ServiceAccount; {
	case first.Name == account:
	case first.Name != "":
		m.problems.Errorf(meshpod.AnnotationService, first.Name, "is not the name of the pod's ServiceAccount, %q: "+
			"the dataplane would not be allowed to be that service; "+anyAccount, account)
	case m.mesh.NameOf(first, "") == "":
		m.problems.Errorf("spec.serviceAccountName", account, "cannot be the name of a service: the dataplane could not log in; "+anyAccount)
	}
}
