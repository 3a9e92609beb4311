// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"podplane/integration/consultest"
	"podplane/integration/kubetest"
)

// systemNamespace is where the manifests put the companion.
const systemNamespace = "podplane-system"

// settings are those of the ConfigMap that a cluster's owner adapts.
func settings() map[string]string {
	return map[string]string{
		"PODPLANE_INJECTOR_CONSUL_ADDRESSES":                network.Addr().String(),
		"PODPLANE_INJECTOR_CONSUL_HTTP_PORT":                strconv.Itoa(consulHTTPS),
		"PODPLANE_INJECTOR_CONSUL_GRPC_PORT":                strconv.Itoa(consulGRPC),
		"PODPLANE_INJECTOR_CONSUL_TLS_SERVER_NAME":          consultest.ServerName,
		"PODPLANE_INJECTOR_DEFAULT_ENABLE_METRICS":          "true",
		"PODPLANE_INJECTOR_DEFAULT_ENABLE_METRICS_MERGING":  "true",
		"PODPLANE_INJECTOR_DEFAULT_ENVOY_PROXY_CONCURRENCY": "1",
		"PODPLANE_INJECTOR_LOG_LEVEL":                       "debug",
	}
}

// manifests reads what a kustomization lists, as `kubectl kustomize` prints it but for labels and order.
func manifests(dir string) ([]*unstructured.Unstructured, error) {
	dir = filepath.Join("..", "..", "deploy", "kubernetes", dir)
	data, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		return nil, err
	}
	var kustomization struct{ Resources []string }
	if err := yaml.Unmarshal(data, &kustomization); err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, name := range kustomization.Resources {
		objects, err := readManifest(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// deploy installs the companion as its documentation says: the base, with settings and Consul's CA, and bootstrap-acl.
// It comes back when both replicas are ready.
func deploy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	begin := time.Now()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}
	if err := cluster.Client().Create(ctx, namespace); err != nil {
		return err
	}
	for name, data := range map[string]map[string][]byte{
		"consul-ca-cert":         {"tls.crt": consulCA.PEM()},
		"consul-bootstrap-token": {"token": []byte(consul.Token() + "\n")},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name}, Data: data}
		if err := cluster.Client().Create(ctx, secret); err != nil {
			return err
		}
	}
	for _, dir := range []string{"base", "bootstrap-acl"} {
		if err := applyAll(ctx, dir); err != nil {
			return err
		}
	}
	if err := poll(ctx, "bootstrap-acl is complete", func(ctx context.Context) bool {
		job := &batchv1.Job{}
		key := client.ObjectKey{Namespace: systemNamespace, Name: "podplane-bootstrap-acl"}
		return cluster.Client().Get(ctx, key, job) == nil && job.Status.Succeeded == 1
	}); err != nil {
		return err
	}
	if err := poll(ctx, "the companion is ready", func(ctx context.Context) bool {
		deployment := &appsv1.Deployment{}
		key := client.ObjectKey{Namespace: systemNamespace, Name: "podplane-injector"}
		return cluster.Client().Get(ctx, key, deployment) == nil && deployment.Status.ReadyReplicas == 2
	}); err != nil {
		return err
	}
	fmt.Println("podplane-injector is ready after", time.Since(begin).Round(time.Millisecond))
	return nil
}

func applyAll(ctx context.Context, dir string) error {
	objects, err := manifests(dir)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() == "ConfigMap" && object.GetName() == "podplane-injector" {
			if err := adapt(object); err != nil {
				return err
			}
		}
		if err := cluster.Apply(ctx, systemNamespace, object); err != nil {
			return err
		}
	}
	return nil
}

// adapt changes the settings. One that the manifests spell otherwise would be there twice, and shows here.
func adapt(configMap *unstructured.Unstructured) error {
	data, _, err := unstructured.NestedStringMap(configMap.Object, "data")
	if err != nil {
		return err
	}
	maps.Copy(data, settings())
	return unstructured.SetNestedStringMap(configMap.Object, data, "data")
}

// poll is await for what is done before the tests; the error says how things are.
func poll(ctx context.Context, what string, cond func(context.Context) bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond(ctx) {
		select {
		case <-ctx.Done():
			later, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
			defer cancel()
			return fmt.Errorf("never: %s\n%s\n%s\n%s", what,
				describe(later, systemNamespace), node.Outputs(systemNamespace), said(systemNamespace))
		case <-tick.C:
		}
	}
	return nil
}

// apply puts the objects of one file of deploy/kubernetes into a namespace.
func apply(ctx context.Context, namespace, path string) error {
	objects, err := readManifest(filepath.Join("..", "..", "deploy", "kubernetes", path))
	if err != nil {
		return err
	}
	// ServiceAccounts first: a Deployment's pod may be made at once, and is refused without.
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int {
		return -strings.Compare(kindRank(a), kindRank(b))
	})
	for _, object := range objects {
		if err := cluster.Apply(ctx, namespace, object); err != nil {
			return err
		}
	}
	return nil
}

func kindRank(o *unstructured.Unstructured) string {
	if o.GetKind() == "ServiceAccount" {
		return "1"
	}
	return "0"
}

func readManifest(path string) ([]*unstructured.Unstructured, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	objects, err := kubetest.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return objects, nil
}
