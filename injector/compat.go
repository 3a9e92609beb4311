// SPDX-License-Identifier: MPL-2.0

package injector

import (
	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

// CommandWriteIDs is the subcommand of the companion that writes files, one for
// each argument of the form PATH=CONTENT.
const CommandWriteIDs = "write-proxy-ids"

// idFile is where consul-k8s has the proxy's ID.
func (m *mutation) idFile(s meshpod.Service) string {
	path := dataPath + "/proxyid"
	if len(m.mesh.Services) > 1 {
		path += "-" + s.Name
	}
	return path
}

// idWriter is the container that writes the files with the proxies' IDs. It takes
// one because a pod's name may not be known before the pod exists, and no volume
// of Kubernetes puts a name and more into a file.
func (m *mutation) idWriter() corev1.Container {
	args := []string{CommandWriteIDs}
	namespace, name := meshpod.Own()
	for _, s := range m.mesh.Services {
		args = append(args, m.idFile(s)+"="+m.mesh.ProxyID(namespace, name, s))
	}
	return corev1.Container{
		Name:            meshpod.ContainerCompat,
		Image:           m.cfg.CompanionImage,
		Args:            args,
		Env:             ownVariables(),
		VolumeMounts:    []corev1.VolumeMount{{Name: volumeData, MountPath: dataPath}},
		SecurityContext: securityContext(),
	}
}
