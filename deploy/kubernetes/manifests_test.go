// SPDX-License-Identifier: MPL-2.0

// Package kubernetes checks the manifests beside it.
package kubernetes

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"podplane/config"
	"podplane/injector/webhook"
	"podplane/meshpod"
)

// typed makes the object of a kind.
func typed(apiVersion, kind string) metav1.Object {
	for _, known := range []struct {
		name   string
		object metav1.Object
	}{
		{"v1 Namespace", &corev1.Namespace{}},
		{"v1 ServiceAccount", &corev1.ServiceAccount{}},
		{"v1 Secret", &corev1.Secret{}},
		{"v1 ConfigMap", &corev1.ConfigMap{}},
		{"v1 Service", &corev1.Service{}},
		{"apps/v1 Deployment", &appsv1.Deployment{}},
		{"batch/v1 Job", &batchv1.Job{}},
		{"policy/v1 PodDisruptionBudget", &policyv1.PodDisruptionBudget{}},
		{"networking.k8s.io/v1 NetworkPolicy", &networkingv1.NetworkPolicy{}},
		{"rbac.authorization.k8s.io/v1 Role", &rbacv1.Role{}},
		{"rbac.authorization.k8s.io/v1 RoleBinding", &rbacv1.RoleBinding{}},
		{"rbac.authorization.k8s.io/v1 ClusterRole", &rbacv1.ClusterRole{}},
		{"rbac.authorization.k8s.io/v1 ClusterRoleBinding", &rbacv1.ClusterRoleBinding{}},
		{"admissionregistration.k8s.io/v1 MutatingWebhookConfiguration", &admissionv1.MutatingWebhookConfiguration{}},
	} {
		if known.name == apiVersion+" "+kind {
			return known.object
		}
	}
	return nil
}

// read parses all objects of a file into their types; unknown fields are errors.
func read(t *testing.T, path string) []metav1.Object {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []metav1.Object
	for document := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		object := typed(kind.APIVersion, kind.Kind)
		if object == nil {
			t.Fatalf("%s: no type for %s %s", path, kind.APIVersion, kind.Kind)
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		out = append(out, object)
	}
	return out
}

// kustomization is what is used of the format.
type kustomization struct {
	metav1.TypeMeta `json:",inline"`
	Namespace       string   `json:"namespace"`
	Resources       []string `json:"resources"`
	Patches         []struct {
		Path string `json:"path"`
	} `json:"patches"`
	Labels []struct {
		Pairs map[string]string `json:"pairs"`
	} `json:"labels"`
}

// files are the manifests of a folder, and fails if its kustomization names others.
func files(t *testing.T, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k kustomization
	if err := yaml.UnmarshalStrict(data, &k); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	var named []string
	for _, r := range k.Resources {
		if strings.HasSuffix(r, ".yaml") {
			named = append(named, filepath.Join(dir, r))
		} else if _, err := os.Stat(filepath.Join(dir, r, "kustomization.yaml")); err != nil {
			t.Error(err)
		}
	}
	for _, p := range k.Patches {
		named = append(named, filepath.Join(dir, p.Path))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found = slices.DeleteFunc(found, func(p string) bool { return filepath.Base(p) == "kustomization.yaml" })
	slices.Sort(named)
	if !slices.Equal(named, found) {
		t.Errorf("%s names %q, but there are %q", dir, named, found)
	}
	return found
}

func folders(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "kustomization.yaml" {
			out = append(out, filepath.Dir(path))
		}
		return err
	})
	if err != nil || len(out) != 4 {
		t.Fatalf("%q, %v", out, err)
	}
	return out
}

func TestManifests(t *testing.T) {
	t.Parallel()
	for _, dir := range folders(t) {
		for _, path := range files(t, dir) {
			for _, object := range read(t, path) {
				if object.GetName() == "" {
					t.Errorf("%s: an object without a name", path)
				}
			}
		}
	}
}

// pods are the pod templates of all manifests, patches aside.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	out := map[string]corev1.PodTemplateSpec{}
	for _, dir := range folders(t) {
		for _, path := range files(t, dir) {
			if path == "overlays/dev/deployment.yaml" {
				continue
			}
			for _, object := range read(t, path) {
				switch o := object.(type) {
				case *appsv1.Deployment:
					out[path] = o.Spec.Template
				case *batchv1.Job:
					out[path] = o.Spec.Template
				}
			}
		}
	}
	return out
}

// TestPodSecurity holds all pods to the strictest profile:
// https://kubernetes.io/docs/concepts/security/pod-security-standards/.
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	all := pods(t)
	if len(all) < 8 {
		t.Errorf("only %d pods", len(all))
	}
	for path, pod := range all {
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", path, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
	}
}

// TestExamplesAsk has annotations that the companion understands.
func TestExamplesAsk(t *testing.T) {
	t.Parallel()
	for path, pod := range pods(t) {
		if !strings.HasPrefix(path, "examples") {
			continue
		}
		p := &corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
		if p.Annotations[meshpod.AnnotationInject] != "true" {
			t.Errorf("%s is not in the mesh", path)
		}
		if _, problems := meshpod.Parse(p, meshpod.Standard()); problems.Err() != nil {
			t.Errorf("%s: %v", path, problems.Err())
		}
	}
}

// settings are the arguments and the environment of the companion's container.
func settings(t *testing.T, template corev1.PodTemplateSpec, configs ...map[string]string) (args []string, env map[string]string) {
	t.Helper()
	env = map[string]string{}
	for _, c := range configs {
		maps.Copy(env, c)
	}
	container := template.Spec.Containers[0]
	for _, e := range container.Env {
		env[e.Name] = "from-the-pod"
	}
	return container.Args, env
}

// data is the ConfigMap of a file.
func data(t *testing.T, path string) map[string]string {
	t.Helper()
	return read(t, path)[0].(*corev1.ConfigMap).Data
}

// TestSettings gives the program what the manifests give it.
func TestSettings(t *testing.T) {
	t.Parallel()
	base, dev := data(t, "base/settings.yaml"), data(t, "overlays/dev/settings.yaml")
	deployment := read(t, "base/deployment.yaml")[0].(*appsv1.Deployment).Spec.Template
	job := read(t, "bootstrap-acl/job.yaml")[0].(*batchv1.Job).Spec.Template
	known := map[string]bool{}
	for _, s := range config.CompanionSettings() {
		known[s.Env] = true
	}
	for name, tc := range map[string]struct {
		load     func([]string, func(string) (string, bool)) (*config.Companion, error)
		template corev1.PodTemplateSpec
		configs  []map[string]string
	}{
		"base":      {config.LoadCompanion, deployment, []map[string]string{base}},
		"dev":       {config.LoadCompanion, deployment, []map[string]string{base, dev}},
		"bootstrap": {config.LoadBootstrap, job, []map[string]string{base}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args, env := settings(t, tc.template, tc.configs...)
			for variable := range env {
				if !known[variable] {
					t.Errorf("%s is no variable of a setting", variable)
				}
			}
			if len(args) > 0 && args[0] == "bootstrap-acl" {
				args = args[1:]
			}
			c, err := tc.load(args, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) > 0 {
				t.Errorf("warnings: %q", c.Warnings)
			}
			if name == "dev" && (!c.Consul.TLS.Disabled || c.Consul.Credentials.Type != "") {
				t.Errorf("dev has %+v", c.Consul)
			}
		})
	}
}

// TestWebhookIsAsked: what a cluster cannot start without does not wait for the
// webhook, and what a pod says of itself does not keep it from the webhook. That
// the expressions mean what they should, a real API server tests.
func TestWebhookIsAsked(t *testing.T) {
	t.Parallel()
	hook := read(t, "base/webhook.yaml")[0].(*admissionv1.MutatingWebhookConfiguration).Webhooks[0]
	for _, r := range hook.ObjectSelector.MatchExpressions {
		if strings.HasPrefix(r.Key, meshpod.Prefix) {
			t.Errorf("a pod with the label %s is not looked at", r.Key)
		}
	}
	conditions := map[string]bool{}
	for _, c := range hook.MatchConditions {
		conditions[c.Expression] = true
	}
	if !conditions["!has(object.spec.hostNetwork) || !object.spec.hostNetwork"] {
		t.Errorf("a node's network may wait for the webhook: %v", conditions)
	}
}

// TestNames has the names that the settings' defaults expect.
func TestNames(t *testing.T) {
	t.Parallel()
	c := config.DefaultCompanion()
	hook := read(t, "base/webhook.yaml")[0].(*admissionv1.MutatingWebhookConfiguration)
	service := hook.Webhooks[0].ClientConfig.Service
	if hook.Name != c.Webhook.ConfigurationName || service.Name != c.Webhook.ServiceName || service.Namespace != c.Namespace || *service.Path != webhook.Path {
		t.Errorf("the webhook configuration is %+v", hook)
	}
	if !slices.Contains(hook.Webhooks[0].NamespaceSelector.MatchExpressions[0].Values, c.Namespace) {
		t.Error("the companion waits for itself")
	}
	if secret := read(t, "base/certificates.yaml")[0]; secret.GetName() != c.Webhook.SecretName || secret.GetNamespace() != c.Namespace {
		t.Errorf("the secret is %s", secret.GetName())
	}
	deployment := read(t, "base/deployment.yaml")[0].(*appsv1.Deployment)
	ports := map[string]string{"webhook": c.Webhook.Addr, "metrics": c.MetricsAddr, "health": c.HealthAddr}
	for _, p := range deployment.Spec.Template.Spec.Containers[0].Ports {
		if _, port, _ := strings.Cut(ports[p.Name], ":"); port == "" || port != strconv.Itoa(int(p.ContainerPort)) {
			t.Errorf("port %s is %d, the setting %s", p.Name, p.ContainerPort, ports[p.Name])
		}
	}
	for _, object := range read(t, "base/rbac.yaml") {
		role, ok := object.(*rbacv1.Role)
		if !ok {
			continue
		}
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.ResourceNames, []string{c.Webhook.SecretName}) {
				t.Errorf("secrets %q may be touched", rule.ResourceNames)
			}
			if slices.Contains(rule.Verbs, "*") || slices.Contains(rule.Resources, "*") {
				t.Errorf("everything is allowed by %+v", rule)
			}
			if slices.Contains(rule.Verbs, "update") && slices.Contains(rule.Resources, "leases") && rule.ResourceNames[0] != c.LeaseName {
				t.Errorf("leases %q", rule.ResourceNames)
			}
		}
	}
}
