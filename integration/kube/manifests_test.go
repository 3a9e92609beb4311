// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Every manifest is taken by the API server as it is, with no field that it does not know. Patches of overlays are part
// of objects, and not looked at here.
func TestManifestsAreAccepted(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	namespace := newNamespace(t, "manifests", restricted())
	root := filepath.Join("..", "..", "deploy", "kubernetes")
	count := 0
	must(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" || entry.Name() == "kustomization.yaml" || isPatch(t, path) {
			return err
		}
		objects, err := readManifest(path)
		for _, object := range objects {
			count++
			if object.GetKind() == "Namespace" {
				continue
			}
			object.SetName(object.GetName() + "-dry") // what is there keeps its owner
			if err := cluster.DryRun(ctx, inNamespace(object, namespace)); err != nil {
				t.Errorf("%s: %s %s: %v", path, object.GetKind(), object.GetName(), err)
			}
		}
		return err
	}))
	if count < 20 {
		t.Errorf("there are only %d manifests", count)
	}
}

// inNamespace gives an object that has none, and needs one, a namespace.
func inNamespace(o *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	if namespaced, err := cluster.Client().IsObjectNamespaced(o); err == nil && namespaced && o.GetNamespace() == "" {
		o.SetNamespace(namespace)
	}
	return o
}

// isPatch tells whether the kustomization beside a file lists it as a patch.
func isPatch(t *testing.T, path string) bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "kustomization.yaml"))
	must(t, err)
	var kustomization struct{ Patches []struct{ Path string } }
	must(t, yaml.Unmarshal(data, &kustomization))
	for _, patch := range kustomization.Patches {
		if patch.Path == filepath.Base(path) {
			return true
		}
	}
	return false
}

// Every pod that the webhook makes, as package injector's golden files have it, is a valid pod, and passes Pod Security
// `restricted` where it did before.
func TestGoldenPodsAreAccepted(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	strict, loose := newNamespace(t, "golden", restricted()), newNamespace(t, "golden-loose", nil)
	paths, err := filepath.Glob(filepath.Join("..", "..", "injector", "testdata", "*.golden.yaml"))
	must(t, err)
	if len(paths) == 0 {
		t.Fatal("there are no golden files")
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".golden.yaml")
		t.Run(name, func(t *testing.T) {
			golden, input := readPodFile(t, path), readPodFile(t, strings.TrimSuffix(path, ".golden.yaml")+".input.yaml")
			prepareGolden(golden)
			prepareGolden(input)
			if cluster.DryRun(ctx, dressed(input, strict)) != nil {
				// It was not `restricted` before; it must still be a pod.
				must(t, cluster.DryRun(ctx, dressed(golden, loose)))
				return
			}
			must(t, cluster.DryRun(ctx, dressed(golden, strict)))
		})
	}
}

func readPodFile(t *testing.T, path string) *corev1.Pod {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	pod := &corev1.Pod{}
	must(t, yaml.UnmarshalStrict(data, pod))
	return pod
}

// prepareGolden takes away what names something that the test's namespace does not have.
func prepareGolden(p *corev1.Pod) {
	p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = "", ""
	p.Status, p.UID, p.ResourceVersion, p.CreationTimestamp = corev1.PodStatus{}, "", "", metav1.Time{}
	p.OwnerReferences = nil
	if p.Name == "" && p.GenerateName == "" {
		p.Name = "golden"
	}
}

// dressed gives a copy of a pod in a namespace. The webhook does not look at it: its own mark says that it has.
func dressed(p *corev1.Pod, namespace string) *corev1.Pod {
	p = p.DeepCopy()
	p.Namespace = namespace
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels["app"] = "consul" // which the webhook's objectSelector leaves alone
	return p
}
