// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/kubetest"
)

// environment gives the container's variables, in order: what every container has, then its own. Later ones win.
func (c *run) environment(ctx context.Context) ([]corev1.EnvVar, error) {
	path, _, _ := strings.Cut(defaultPath, "=")
	out := []corev1.EnvVar{
		{Name: path, Value: strings.TrimPrefix(defaultPath, "PATH=")},
		{Name: "HOSTNAME", Value: c.pod.object.Name},
		{Name: "KUBERNETES_SERVICE_HOST", Value: kubetest.ServiceIP},
		{Name: "KUBERNETES_SERVICE_PORT", Value: "443"},
	}
	for _, from := range c.spec.EnvFrom {
		more, err := c.pod.envFrom(ctx, from)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	for _, v := range c.spec.Env {
		value, skip := expand(v.Value, out), false
		if v.ValueFrom != nil {
			var err error
			if value, skip, err = c.pod.valueFrom(ctx, c.spec, *v.ValueFrom); err != nil {
				return nil, fmt.Errorf("variable %s: %w", v.Name, err)
			}
		}
		if !skip {
			out = append(out, corev1.EnvVar{Name: v.Name, Value: value})
		}
	}
	return out, nil
}

// expand replaces $(NAME) by the variable's value where there is one, and $$ by $, as
// https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/ says.
func expand(s string, env []corev1.EnvVar) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			out.WriteByte('$')
			i++
		case '(':
			name, _, whole := strings.Cut(s[i+2:], ")")
			value, known := lookUp(name, env)
			if !whole || !known {
				out.WriteByte('$')
				continue
			}
			out.WriteString(value)
			i += len(name) + 2
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

func lookUp(name string, env []corev1.EnvVar) (value string, known bool) {
	for _, v := range env {
		if v.Name == name {
			value, known = v.Value, true
		}
	}
	return value, known
}

func (p *pod) valueFrom(ctx context.Context, c *corev1.Container, from corev1.EnvVarSource) (value string, skip bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = p.field(from.FieldRef.FieldPath)
		return value, false, err
	case from.ResourceFieldRef != nil:
		return resourceField(c, from.ResourceFieldRef), false, nil
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		data, err := p.configMap(ctx, ref.Name)
		value, ok := data[ref.Key]
		return value, optional(ref.Optional) && !ok, missing(err, ok, ref.Optional, ref.Name, ref.Key)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		data, err := p.secret(ctx, ref.Name)
		value, ok := data[ref.Key]
		return value, optional(ref.Optional) && !ok, missing(err, ok, ref.Optional, ref.Name, ref.Key)
	}
	return "", false, fmt.Errorf("a source that is not played: %+v", from)
}

func optional(o *bool) bool { return o != nil && *o }

func missing(err error, ok bool, may *bool, name, key string) error {
	if ok || optional(may) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s has no key %s", name, key)
}

// field gives a field of the pod, as the downward API names it.
func (p *pod) field(path string) (string, error) {
	if name, ok := strings.CutPrefix(path, "metadata.labels['"); ok {
		return p.object.Labels[strings.TrimSuffix(name, "']")], nil
	}
	if name, ok := strings.CutPrefix(path, "metadata.annotations['"); ok {
		return p.object.Annotations[strings.TrimSuffix(name, "']")], nil
	}
	fields := map[string]string{
		"metadata.name":           p.object.Name,
		"metadata.namespace":      p.object.Namespace,
		"metadata.uid":            string(p.object.UID),
		"spec.nodeName":           p.object.Spec.NodeName,
		"spec.serviceAccountName": p.object.Spec.ServiceAccountName,
		"status.hostIP":           p.kubelet.cfg.Network.Addr().String(),
		"status.hostIPs":          p.kubelet.cfg.Network.Addr().String(),
		"status.podIP":            p.net.Addr.String(),
		"status.podIPs":           p.net.Addr.String(),
	}
	value, ok := fields[path]
	if !ok {
		return "", fmt.Errorf("the downward API has no field %s", path)
	}
	return value, nil
}

// resourceField gives a request or limit in whole units, rounded up; 0 where there is none.
func resourceField(c *corev1.Container, ref *corev1.ResourceFieldSelector) string {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := map[string]corev1.ResourceList{"limits": c.Resources.Limits, "requests": c.Resources.Requests}[kind]
	if list == nil {
		return "0"
	}
	quantity := list[corev1.ResourceName(name)]
	divisor := ref.Divisor.MilliValue()
	if divisor == 0 {
		divisor = 1000
	}
	return strconv.FormatInt((quantity.MilliValue()+divisor-1)/divisor, 10)
}

func (p *pod) envFrom(ctx context.Context, from corev1.EnvFromSource) ([]corev1.EnvVar, error) {
	var data map[string]string
	var err error
	var may *bool
	switch {
	case from.ConfigMapRef != nil:
		may = from.ConfigMapRef.Optional
		data, err = p.configMap(ctx, from.ConfigMapRef.Name)
	case from.SecretRef != nil:
		may = from.SecretRef.Optional
		data, err = p.secret(ctx, from.SecretRef.Name)
	}
	if err != nil && !optional(may) {
		return nil, err
	}
	var out []corev1.EnvVar
	for name, value := range data {
		out = append(out, corev1.EnvVar{Name: from.Prefix + name, Value: value})
	}
	return out, nil
}

func (p *pod) configMap(ctx context.Context, name string) (map[string]string, error) {
	object := &corev1.ConfigMap{}
	if err := p.kubelet.client.Get(ctx, client.ObjectKey{Namespace: p.object.Namespace, Name: name}, object); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for key, value := range object.BinaryData {
		out[key] = string(value)
	}
	maps.Copy(out, object.Data)
	return out, nil
}

func (p *pod) secret(ctx context.Context, name string) (map[string]string, error) {
	object := &corev1.Secret{}
	if err := p.kubelet.client.Get(ctx, client.ObjectKey{Namespace: p.object.Namespace, Name: name}, object); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for key, value := range object.Data {
		out[key] = string(value)
	}
	return out, nil
}
