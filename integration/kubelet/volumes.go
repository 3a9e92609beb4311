// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// defaultMode is that of files of volumes that do not say another.
const defaultMode = 0o644

// file is one file of a volume.
type file struct {
	path string // in the volume
	data string
	mode os.FileMode
}

// makeVolumes makes a folder for each of the pod's volumes.
func (p *pod) makeVolumes(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, v := range p.object.Spec.Volumes {
		dir := filepath.Join(p.dir, "volumes", v.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		files, err := p.content(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		for _, f := range files {
			if err := p.writeFile(dir, f); err != nil {
				return nil, fmt.Errorf("volume %s: %w", v.Name, err)
			}
		}
		if v.EmptyDir != nil {
			if err := p.share(dir); err != nil {
				return nil, err
			}
		}
		out[v.Name] = dir
	}
	return out, nil
}

// share lets every user of the pod write to a folder, as an emptyDir does.
func (p *pod) share(dir string) error {
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	return p.group(dir)
}

func (p *pod) group(path string) error {
	if security := p.object.Spec.SecurityContext; security != nil && security.FSGroup != nil {
		return os.Chown(path, -1, int(*security.FSGroup))
	}
	return nil
}

func (p *pod) writeFile(dir string, f file) error {
	path := filepath.Join(dir, f.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(f.data), f.mode); err != nil {
		return err
	}
	if err := os.Chmod(path, f.mode); err != nil { // whatever the umask
		return err
	}
	return p.group(path)
}

// readOnly tells whether a volume is so by its kind.
func (p *pod) readOnly(name string) bool {
	for _, v := range p.object.Spec.Volumes {
		if v.Name == name {
			return v.EmptyDir == nil
		}
	}
	return true
}

// content gives the files with which a volume begins.
func (p *pod) content(ctx context.Context, v corev1.Volume) ([]file, error) {
	switch {
	case v.EmptyDir != nil:
		return nil, nil
	case v.ConfigMap != nil:
		data, err := p.configMap(ctx, v.ConfigMap.Name)
		return items(data, v.ConfigMap.Items, mode(v.ConfigMap.DefaultMode)), unless(v.ConfigMap.Optional, err)
	case v.Secret != nil:
		data, err := p.secret(ctx, v.Secret.SecretName)
		return items(data, v.Secret.Items, mode(v.Secret.DefaultMode)), unless(v.Secret.Optional, err)
	case v.DownwardAPI != nil:
		return p.downward(v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode))
	case v.Projected != nil:
		return p.projected(ctx, v.Projected)
	}
	return nil, fmt.Errorf("a kind that is not played: %+v", v.VolumeSource)
}

func unless(may *bool, err error) error {
	if optional(may) {
		return nil
	}
	return err
}

func mode(m *int32) os.FileMode {
	if m == nil {
		return defaultMode
	}
	return os.FileMode(*m)
}

func items(data map[string]string, chosen []corev1.KeyToPath, mode os.FileMode) []file {
	var out []file
	if len(chosen) == 0 {
		for key, value := range data {
			out = append(out, file{key, value, mode})
		}
	}
	for _, item := range chosen {
		out = append(out, file{item.Path, data[item.Key], mode})
	}
	return out
}

func (p *pod) downward(list []corev1.DownwardAPIVolumeFile, mode os.FileMode) ([]file, error) {
	var out []file
	for _, item := range list {
		if item.FieldRef == nil {
			return nil, fmt.Errorf("file %s: only fields are played", item.Path)
		}
		value, err := p.field(item.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		out = append(out, file{item.Path, value, mode})
	}
	return out, nil
}

func (p *pod) projected(ctx context.Context, v *corev1.ProjectedVolumeSource) ([]file, error) {
	var out []file
	for _, source := range v.Sources {
		var files []file
		var err error
		switch {
		case source.ServiceAccountToken != nil:
			files, err = p.token(ctx, source.ServiceAccountToken, mode(v.DefaultMode))
		case source.ConfigMap != nil:
			data, readErr := p.configMap(ctx, source.ConfigMap.Name)
			err = unless(source.ConfigMap.Optional, readErr)
			files = items(data, source.ConfigMap.Items, mode(v.DefaultMode))
		case source.Secret != nil:
			data, readErr := p.secret(ctx, source.Secret.Name)
			err = unless(source.Secret.Optional, readErr)
			files = items(data, source.Secret.Items, mode(v.DefaultMode))
		case source.DownwardAPI != nil:
			files, err = p.downward(source.DownwardAPI.Items, mode(v.DefaultMode))
		default:
			err = fmt.Errorf("a source that is not played: %+v", source)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, files...)
	}
	return out, nil
}

// token asks for a token of the pod's ServiceAccount that is bound to the pod. With an fsGroup it is not readable by
// everybody, as a kubelet's (https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/volume/projected/projected.go).
func (p *pod) token(ctx context.Context, t *corev1.ServiceAccountTokenProjection, mode os.FileMode) ([]file, error) {
	request := &authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{
		ExpirationSeconds: t.ExpirationSeconds,
		BoundObjectRef: &authnv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: p.object.Name, UID: p.object.UID,
		},
	}}
	if t.Audience != "" {
		request.Spec.Audiences = []string{t.Audience}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: p.object.Namespace, Name: p.object.Spec.ServiceAccountName,
	}}
	if err := p.kubelet.client.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if security := p.object.Spec.SecurityContext; security != nil && security.FSGroup != nil {
		mode = 0o640
	}
	return []file{{t.Path, request.Status.Token, mode}}, nil
}
