// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"podplane/integration/kubelet/container"
)

// defaultPath is that of an image that sets none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// prepare writes the spec of the container's next process, and gives the path of the file that tells of its start and
// that of the spec.
func (c *run) prepare(ctx context.Context) (flag, path string, err error) {
	dir := filepath.Join(c.pod.dir, "containers", c.spec.Name, strconv.Itoa(c.restarts))
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", "", err
	}
	spec, err := c.container(ctx)
	if err != nil {
		return "", "", err
	}
	spec.Root, spec.Started = root, filepath.Join(dir, "started")
	path = filepath.Join(dir, "spec.json")
	return spec.Started, path, writeSpec(path, spec)
}

func writeSpec(path string, spec container.Spec) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600) // the environment may hold secrets
}

// container says what Kubernetes promises to the container.
func (c *run) container(ctx context.Context) (container.Spec, error) {
	image, err := c.pod.kubelet.image(c.spec.Image)
	if err != nil {
		return container.Spec{}, err
	}
	env, err := c.environment(ctx)
	if err != nil {
		return container.Spec{}, err
	}
	mounts, err := c.mounts(image)
	if err != nil {
		return container.Spec{}, err
	}
	args, err := c.command(image, env)
	if err != nil {
		return container.Spec{}, err
	}
	spec := container.Spec{
		NetNS: c.pod.net.Path, Hostname: c.pod.object.Name, Mounts: mounts, Dir: c.spec.WorkingDir, Args: args,
		Files: map[string]string{
			"/etc/hosts":       "127.0.0.1 localhost\n" + c.pod.net.Addr.String() + " " + c.pod.object.Name + "\n",
			"/etc/resolv.conf": "",
			"/etc/passwd":      "root:x:0:0:root:/:/sbin/nologin\n",
		},
	}
	for _, v := range env {
		spec.Env = append(spec.Env, v.Name+"="+v.Value)
	}
	return spec, c.secure(&spec, image)
}

// command joins the image's and the pod's words, as
// https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/ says.
func (c *run) command(image Image, env []corev1.EnvVar) ([]string, error) {
	command, args := image.Entrypoint, image.Cmd
	if len(c.spec.Command) > 0 {
		command, args = c.spec.Command, nil
	}
	if len(c.spec.Args) > 0 {
		args = c.spec.Args
	}
	words := slices.Concat(command, args)
	if len(words) == 0 {
		return nil, errors.New("neither the pod nor the image has a command")
	}
	for i, word := range words {
		words[i] = expand(word, env)
	}
	return words, nil
}

// secure takes over the security contexts; the container's wins over the pod's.
func (c *run) secure(spec *container.Spec, image Image) error {
	pod, own := c.pod.object.Spec.SecurityContext, c.spec.SecurityContext
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	spec.UID = image.User
	if uid := cmp.Or(own.RunAsUser, pod.RunAsUser); uid != nil {
		spec.UID = int(*uid)
	}
	if gid := cmp.Or(own.RunAsGroup, pod.RunAsGroup); gid != nil {
		spec.GID = int(*gid)
	}
	if nonRoot := cmp.Or(own.RunAsNonRoot, pod.RunAsNonRoot); nonRoot != nil && *nonRoot && spec.UID == 0 {
		return errors.New("it has runAsNonRoot and its image runs as root")
	}
	for _, group := range pod.SupplementalGroups {
		spec.Groups = append(spec.Groups, int(group))
	}
	if pod.FSGroup != nil {
		spec.Groups = append(spec.Groups, int(*pod.FSGroup))
	}
	spec.ReadOnly = own.ReadOnlyRootFilesystem != nil && *own.ReadOnlyRootFilesystem
	spec.NoNewPrivs = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
	spec.DropAll = own.Capabilities != nil && slices.Contains(own.Capabilities.Drop, "ALL")
	if own.Capabilities != nil && len(own.Capabilities.Add) > 0 {
		return fmt.Errorf("capabilities cannot be added: %v", own.Capabilities.Add)
	}
	return nil
}

// mounts are the image's programs, and the volumes.
func (c *run) mounts(image Image) ([]container.Mount, error) {
	var out []container.Mount
	for _, folder := range image.Folders {
		out = append(out, container.Mount{Source: folder, Target: folder, ReadOnly: true})
	}
	for target, source := range image.Programs {
		out = append(out, container.Mount{Source: source, Target: target, ReadOnly: true})
	}
	for _, m := range c.spec.VolumeMounts {
		source, ok := c.pod.volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("it mounts volume %q, which the pod has not", m.Name)
		}
		if m.SubPathExpr != "" {
			return nil, errors.New("subPathExpr is not played")
		}
		out = append(out, container.Mount{
			Source: path.Join(source, m.SubPath), Target: m.MountPath, ReadOnly: m.ReadOnly || c.pod.readOnly(m.Name),
		})
	}
	return out, nil
}
