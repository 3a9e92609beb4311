// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"podplane/meshpod"
)

const testNamespace = "shop"

// newConfig is a companion's without ACLs and TLS, for native sidecars.
func newConfig() Config {
	return Config{
		Image: "podplane:test", DefaultInject: false, AllowNamespaces: []string{"*"}, Native: true,
		CompanionImage: "podplane-injector:test",
		Consul:         Consul{Addresses: "consul-server.consul.svc", TLSDisabled: true},
		Defaults:       meshpod.Standard(),
	}
}

// newPod is a pod of Pod Security restricted with annotations besides that which
// injects it.
func newPod(annotations map[string]string) *corev1.Pod {
	pod := &corev1.Pod{}
	err := yaml.UnmarshalStrict([]byte(`
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}, annotations: {"consul.hashicorp.com/connect-inject": "true"}}
spec:
  serviceAccountName: web
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: app:1
    ports: [{name: http, containerPort: 8080}]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`), pod)
	if err != nil {
		panic(err)
	}
	maps.Copy(pod.Annotations, annotations)
	return pod
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// mutate gives the pod as it is after admission, and what was said.
func mutate(t testing.TB, pod *corev1.Pod, cfg Config) (*corev1.Pod, Result) {
	t.Helper()
	raw := encode(t, pod)
	r, err := Mutate(raw, testNamespace, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	after := &corev1.Pod{}
	if err := json.Unmarshal(apply(t, raw, r), after); err != nil {
		t.Fatal(err)
	}
	return after, r
}

// injected is mutate for a pod that must be injected, without warnings.
func injected(t testing.TB, pod *corev1.Pod, cfg Config) *corev1.Pod {
	t.Helper()
	after, r := mutate(t, pod, cfg)
	if r.Refusal != "" || len(r.Patch) == 0 || len(r.Warnings) > 0 {
		t.Fatalf("refusal %q, patch of %d bytes, warnings %q", r.Refusal, len(r.Patch), r.Warnings)
	}
	return after
}

func apply(t testing.TB, raw []byte, r Result) []byte {
	t.Helper()
	if len(r.Patch) == 0 {
		return raw
	}
	p, err := jsonpatch.DecodePatch(r.Patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.Apply(raw)
	if err != nil {
		t.Fatalf("the patch does not apply: %v\n%s", err, r.Patch)
	}
	return after
}

// dataplanes are the containers that were added and run podplane.
func dataplanes(pod *corev1.Pod) []corev1.Container {
	var out []corev1.Container
	for _, c := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		if c.Name == meshpod.ContainerDataplane || strings.HasPrefix(c.Name, meshpod.ContainerDataplane+"-") {
			out = append(out, c)
		}
	}
	return out
}
