// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"podplane/injector/webhook"
	"podplane/integration/consultest"
)

// hooked has the API server ask a URL about the pods of a namespace, under the conditions of the manifest. It comes back
// when the API server does.
func hooked(ctx context.Context, t *testing.T, namespace, url string, ca []byte) {
	t.Helper()
	objects, err := readManifest(filepath.Join("..", "..", "deploy", "kubernetes", "base", "webhook.yaml"))
	must(t, err)
	config := &registrationv1.MutatingWebhookConfiguration{}
	must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(objects[0].Object, config))
	config.Name = namespace
	hook := &config.Webhooks[0]
	hook.ClientConfig = registrationv1.WebhookClientConfig{URL: &url, CABundle: ca}
	hook.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}
	must(t, cluster.Client().Create(ctx, config))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := cluster.Delete(ctx, config); err != nil {
			t.Error(err)
		}
	})
}

func simplePod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// While no replica answers, pods that a node needs to get ready are made all the same, and others are not.
func TestNodesDoNotWaitForTheWebhook(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	namespace := newNamespace(t, "cni", nil)
	ca, err := consultest.NewCA("nobody")
	must(t, err)
	hooked(ctx, t, namespace, "https://127.0.0.1:1/mutate", ca.PEM())
	await(ctx, t, "the webhook is asked, and does not answer", func(ctx context.Context) bool {
		err := cluster.DryRun(ctx, simplePod(namespace))
		return err != nil && strings.Contains(err.Error(), "failed calling webhook")
	})
	host := simplePod(namespace)
	host.Spec.HostNetwork = true
	mirror := simplePod(namespace)
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x", "other": "y"}
	mirror.Spec.NodeName = nodeName
	off := simplePod(namespace)
	off.Annotations = map[string]string{"other": "y"}
	for name, tc := range map[string]struct {
		pod   *corev1.Pod
		asked bool
	}{"host network": {host, false}, "mirror": {mirror, false}, "annotated": {off, true}} {
		err := cluster.DryRun(ctx, tc.pod)
		if asked := err != nil && strings.Contains(err.Error(), "failed calling webhook"); asked != tc.asked || !asked && err != nil && name != "mirror" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A replica with too much to do says so, and the API server asks again by itself: whoever makes the pod notices nothing.
func TestBusyWebhookIsAskedAgain(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	namespace := newNamespace(t, "busy", nil)
	let, asked := make(chan struct{}), make(chan struct{}, 2)
	registry := prometheus.NewRegistry()
	url, ca := serveWebhook(t, webhook.Config{
		Concurrency: 1, Waiting: 1, Patience: patience, Metrics: registry,
		Mutate: func(_ context.Context, r webhook.Request) (webhook.Decision, error) {
			if strings.Contains(string(r.Pod), "slow") {
				asked <- struct{}{}
				<-let
			}
			return webhook.Decision{}, nil
		},
	})
	hooked(ctx, t, namespace, url, ca)
	await(ctx, t, "the webhook is asked", func(ctx context.Context) bool {
		return cluster.DryRun(ctx, simplePod(namespace)) == nil && metric(t, registry, "unchanged") > 0
	})
	made := make(chan error, 3)
	create := func(name string) {
		pod := simplePod(namespace)
		pod.Name = name
		go func() { made <- cluster.DryRun(ctx, pod) }()
	}
	create("slow-first") // it is decided on
	<-asked
	create("second") // it waits
	await(ctx, t, "one waits", func(context.Context) bool { return metric(t, registry, "") == 1 })
	create("third")
	await(ctx, t, "the API server was refused twice", func(context.Context) bool { return metric(t, registry, "busy") >= 2 })
	close(let)
	must(t, <-made, <-made, <-made)
}

// serveWebhook serves until the test ends, and gives what a webhook configuration needs.
func serveWebhook(t *testing.T, cfg webhook.Config) (url string, ca []byte) {
	t.Helper()
	authority, err := consultest.NewCA("webhook")
	must(t, err)
	leaf, err := authority.Issue("localhost", "127.0.0.1")
	must(t, err)
	pair, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	must(t, err)
	cfg.Addr = "127.0.0.1:0"
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
	server, err := webhook.New(cfg, nil)
	must(t, err)
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "https://" + server.Addr().String() + webhook.Path, authority.PEM()
}

// metric is how many reviews had a result; without one, how many wait.
func metric(t *testing.T, registry *prometheus.Registry, result string) float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			switch {
			case result == "" && family.GetName() == "podplane_injector_admissions_waiting":
				return m.GetGauge().GetValue()
			case family.GetName() == "podplane_injector_admissions_total" && m.GetLabel()[0].GetValue() == result:
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
