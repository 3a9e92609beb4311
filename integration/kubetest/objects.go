// SPDX-License-Identifier: MPL-2.0

package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authnv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// owner is the name under which objects are applied.
const owner = "kubetest"

// Scheme knows the types that tests use. Others go as unstructured objects.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		admissionv1.AddToScheme, appsv1.AddToScheme, authnv1.AddToScheme, batchv1.AddToScheme,
		coordinationv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme,
		policyv1.AddToScheme, rbacv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err) // two of the lines above contradict each other
		}
	}
	return scheme
}

// Decode reads the objects of a YAML stream.
func Decode(data []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4<<10)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", len(out)+1, err)
		}
		if len(object.Object) > 0 {
			out = append(out, object)
		}
	}
}

// Apply makes an object be as given, with unknown fields refused. A namespace is given to one that has none and needs one.
func (c *Cluster) Apply(ctx context.Context, namespace string, object *unstructured.Unstructured) error {
	if object.GetNamespace() == "" && namespace != "" {
		namespaced, err := c.client.IsObjectNamespaced(object)
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if namespaced {
			object.SetNamespace(namespace)
		}
	}
	err := client.WithFieldValidation(c.client, metav1.FieldValidationStrict).
		Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(owner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

// DryRun has the API server admit an object as if it were created, and throw it away. What it would have become is
// written into object.
func (c *Cluster) DryRun(ctx context.Context, object client.Object) error {
	return client.WithFieldValidation(c.client, metav1.FieldValidationStrict).Create(ctx, object, client.DryRunAll)
}

// NewNamespace makes a namespace and waits until pods can be made in it. The name gets a random end.
func (c *Cluster) NewNamespace(ctx context.Context, prefix string, labels map[string]string) (string, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Labels: labels}}
	if err := c.client.Create(ctx, namespace); err != nil {
		return "", fmt.Errorf("create namespace: %w", err)
	}
	return namespace.Name, c.AwaitServiceAccount(ctx, namespace.Name, "default")
}

// AwaitServiceAccount waits for a ServiceAccount: pods are refused before.
func (c *Cluster) AwaitServiceAccount(ctx context.Context, namespace, name string) error {
	return await(ctx, c.controllers, func(ctx context.Context) error {
		return c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &corev1.ServiceAccount{})
	})
}

// Token asks for a token of a ServiceAccount, for the API server itself if there are no audiences.
func (c *Cluster) Token(ctx context.Context, namespace, account string, audiences ...string) (string, error) {
	seconds := int64(time.Hour.Seconds())
	request := &authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds}}
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	if err := c.client.SubResource("token").Create(ctx, object, request); err != nil {
		return "", fmt.Errorf("token of %s/%s: %w", namespace, account, err)
	}
	return request.Status.Token, nil
}

// Delete deletes an object, which need not exist.
func (c *Cluster) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	if err := c.client.Delete(ctx, object, options...); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", object.GetName(), err)
	}
	return nil
}
