// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Cluster is where the Secret and the webhook configuration are.
type Cluster struct {
	// Secrets are those of the companion's own namespace.
	Secrets coreclient.SecretInterface
	// SecretName is the Secret shared by the replicas.
	SecretName string
	// Webhooks are the cluster's mutating webhook configurations.
	Webhooks admissionclient.MutatingWebhookConfigurationInterface
	// WebhookName is the configuration whose webhooks get the CA bundle.
	WebhookName string
}

// configuration reads the webhook configuration.
func (c Cluster) configuration(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error) {
	found, err := c.Webhooks.Get(ctx, c.WebhookName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read webhook configuration %s: %w", c.WebhookName, err)
	}
	if len(found.Webhooks) == 0 {
		return nil, fmt.Errorf("read webhook configuration %s: it has no webhooks", c.WebhookName)
	}
	return found, nil
}

// trust puts the bundle into all webhooks of the configuration, unless it is
// there, and tells whether it wrote. The resource version is part of the patch,
// so a configuration that changed since it was read is a conflict.
func (c Cluster) trust(ctx context.Context, config *admissionv1.MutatingWebhookConfiguration, bundle []byte) (bool, error) {
	type clientConfig struct {
		CABundle []byte `json:"caBundle"`
	}
	type webhook struct {
		Name         string       `json:"name"` // the merge key
		ClientConfig clientConfig `json:"clientConfig"`
	}
	var webhooks []webhook
	for _, w := range config.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, bundle) {
			webhooks = append(webhooks, webhook{Name: w.Name, ClientConfig: clientConfig{CABundle: bundle}})
		}
	}
	if webhooks == nil {
		return false, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": config.ResourceVersion},
		"webhooks": webhooks,
	})
	if err == nil {
		_, err = c.Webhooks.Patch(ctx, c.WebhookName, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		return false, fmt.Errorf("write the authorities to webhook configuration %s: %w", c.WebhookName, err)
	}
	return true, nil
}

// secret reads the Secret. One that does not exist is an empty one without a
// resource version.
func (c Cluster) secret(ctx context.Context) (*corev1.Secret, error) {
	found, err := c.Secrets.Get(ctx, c.SecretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: c.SecretName}, Type: corev1.SecretTypeOpaque}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", c.SecretName, err)
	}
	return found, nil
}

// keep writes the Secret with new data. A Secret that changed since it was read,
// or was made since, is a conflict.
func (c Cluster) keep(ctx context.Context, secret *corev1.Secret, data map[string][]byte) error {
	secret = secret.DeepCopy()
	secret.Data = data
	var err error
	if secret.ResourceVersion == "" {
		_, err = c.Secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else {
		_, err = c.Secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write secret %s: %w", c.SecretName, err)
	}
	return nil
}

// isRace tells whether another replica was faster, so that all has to be read anew.
func isRace(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// watchers call changed whenever one of the two objects does.
func (c Cluster) watchers(changed func()) ([]cache.SharedInformer, error) {
	informers := []cache.SharedInformer{
		cache.NewSharedInformer(watchOne(c.SecretName, c.Secrets.List, c.Secrets.Watch, c.Secrets), &corev1.Secret{}, 0),
		cache.NewSharedInformer(watchOne(c.WebhookName, c.Webhooks.List, c.Webhooks.Watch, c.Webhooks), &admissionv1.MutatingWebhookConfiguration{}, 0),
	}
	for _, informer := range informers {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { changed() },
			UpdateFunc: func(any, any) { changed() },
			DeleteFunc: func(any) { changed() },
		}); err != nil {
			return nil, fmt.Errorf("watch certificates: %w", err)
		}
	}
	return informers, nil
}

// watchOne lists and watches the object of one name, which is all that RBAC has
// to allow: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources.
func watchOne[L runtime.Object](
	name string,
	list func(context.Context, metav1.ListOptions) (L, error),
	watchAll func(context.Context, metav1.ListOptions) (watch.Interface, error),
	client any,
) cache.ListerWatcher {
	only := func(o metav1.ListOptions) metav1.ListOptions {
		o.FieldSelector = "metadata.name=" + name
		return o
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, only(o)) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return watchAll(ctx, only(o))
		},
	}, client)
}
