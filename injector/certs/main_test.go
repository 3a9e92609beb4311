// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secretName  = "podplane-injector-certs"
	webhookName = "podplane-injector"
)

var names = []string{"podplane-injector.podplane-system.svc"}

// apiServer keeps one Secret and one webhook configuration as an API server
// does: each write needs the resource version that was read.
type apiServer struct {
	mu       sync.Mutex
	version  int
	secret   *corev1.Secret
	config   *admissionv1.MutatingWebhookConfiguration
	down     error
	denied   error // of writes to the configuration
	watchers []*watch.RaceFreeFakeWatcher
	writes   int
}

func newAPIServer() *apiServer {
	a := &apiServer{}
	a.setConfig(nil)
	return a
}

func (a *apiServer) cluster() Cluster {
	return Cluster{Secrets: secrets{server: a}, SecretName: secretName, Webhooks: webhooks{server: a}, WebhookName: webhookName}
}

func (a *apiServer) next() string {
	a.version++
	return strconv.Itoa(a.version)
}

// setConfig replaces the webhook configuration, as somebody with kubectl does.
func (a *apiServer) setConfig(bundle []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: webhookName, ResourceVersion: a.next()},
		Webhooks: []admissionv1.MutatingWebhook{
			{Name: "pods.podplane", ClientConfig: admissionv1.WebhookClientConfig{CABundle: bundle}},
			{Name: "more.podplane", ClientConfig: admissionv1.WebhookClientConfig{CABundle: bundle}},
		},
	}
	a.changed(a.config.DeepCopy())
}

func (a *apiServer) setSecret(secret *corev1.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secret = secret
}

// bundle is what an API server that reads now trusts.
func (a *apiServer) bundle() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		return nil
	}
	return a.config.Webhooks[0].ClientConfig.CABundle
}

func (a *apiServer) data() map[string][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.secret == nil {
		return nil
	}
	return a.secret.Data
}

// changed tells the watchers; the lock is held.
func (a *apiServer) changed(config *admissionv1.MutatingWebhookConfiguration) {
	for _, w := range a.watchers {
		w.Modify(config)
	}
}

func conflict(name string) error {
	return apierrors.NewConflict(schema.GroupResource{Resource: "things"}, name, nil)
}

type secrets struct {
	coreclient.SecretInterface
	server *apiServer
}

func (s secrets) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.server.down != nil {
		return nil, s.server.down
	}
	if s.server.secret == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	}
	return s.server.secret.DeepCopy(), nil
}

func (s secrets) Create(_ context.Context, secret *corev1.Secret, _ metav1.CreateOptions) (*corev1.Secret, error) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.server.secret != nil {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, secret.Name)
	}
	return s.server.store(secret), nil
}

func (s secrets) Update(_ context.Context, secret *corev1.Secret, _ metav1.UpdateOptions) (*corev1.Secret, error) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.server.secret == nil || s.server.secret.ResourceVersion != secret.ResourceVersion {
		return nil, conflict(secret.Name)
	}
	return s.server.store(secret), nil
}

func (a *apiServer) store(secret *corev1.Secret) *corev1.Secret {
	a.secret = secret.DeepCopy()
	a.secret.ResourceVersion = a.next()
	a.writes++
	return a.secret
}

func (s secrets) List(context.Context, metav1.ListOptions) (*corev1.SecretList, error) {
	return &corev1.SecretList{}, nil
}

func (s secrets) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewRaceFreeFake(), nil
}

type webhooks struct {
	admissionclient.MutatingWebhookConfigurationInterface
	server *apiServer
}

func (w webhooks) Get(_ context.Context, name string, _ metav1.GetOptions) (*admissionv1.MutatingWebhookConfiguration, error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if w.server.down != nil {
		return nil, w.server.down
	}
	if w.server.config == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "mutatingwebhookconfigurations"}, name)
	}
	return w.server.config.DeepCopy(), nil
}

// Patch does with the patch what its strategy demands for the fields in it.
func (w webhooks) Patch(_ context.Context, name string, kind types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*admissionv1.MutatingWebhookConfiguration, error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if w.server.denied != nil {
		return nil, w.server.denied
	}
	var patch admissionv1.MutatingWebhookConfiguration
	if err := json.Unmarshal(data, &patch); err != nil || kind != types.StrategicMergePatchType {
		return nil, apierrors.NewBadRequest(string(data))
	}
	if patch.ResourceVersion != w.server.config.ResourceVersion {
		return nil, conflict(name)
	}
	for _, changed := range patch.Webhooks {
		for i := range w.server.config.Webhooks {
			if w.server.config.Webhooks[i].Name == changed.Name {
				w.server.config.Webhooks[i].ClientConfig.CABundle = changed.ClientConfig.CABundle
			}
		}
	}
	w.server.config.ResourceVersion = w.server.next()
	w.server.writes++
	return w.server.config.DeepCopy(), nil
}

func (w webhooks) List(context.Context, metav1.ListOptions) (*admissionv1.MutatingWebhookConfigurationList, error) {
	return &admissionv1.MutatingWebhookConfigurationList{}, nil
}

func (w webhooks) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	watcher := watch.NewRaceFreeFake()
	w.server.watchers = append(w.server.watchers, watcher)
	return watcher, nil
}

func (a *apiServer) watched() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.watchers)
}

func (a *apiServer) written() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writes
}

// IsWatchListSemanticsUnSupported tells client-go that this is no API server.
func (s secrets) IsWatchListSemanticsUnSupported() bool { return true }

// IsWatchListSemanticsUnSupported tells client-go that this is no API server.
func (w webhooks) IsWatchListSemanticsUnSupported() bool { return true }
