// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := newConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	const key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"image":          {func(c *Config) { c.Image = "" }, "no image"},
		"addresses":      {func(c *Config) { c.Consul.Addresses = "" }, "no Consul addresses"},
		"companion":      {func(c *Config) { c.Compat, c.CompanionImage = true, "" }, "no companion image"},
		"pull policy":    {func(c *Config) { c.PullPolicy = "Sometimes" }, `"Sometimes" is no pull policy`},
		"expiry":         {func(c *Config) { c.Login.ExpirySeconds = 60 }, "600 s or longer, not 60 s"},
		"namespace":      {func(c *Config) { c.DenyNamespaces = []string{"A"} }, `"A" is no namespace`},
		"defaults":       {func(c *Config) { c.Defaults.ScrapePort = 80 }, "between 1024 and 65535"},
		"CA is no PEM":   {func(c *Config) { c.Consul.CA = "x" }, "not certificates"},
		"CA with a key":  {func(c *Config) { c.Consul.CA = testCA + key }, "not certificates"},
		"CA is too long": {func(c *Config) { c.Consul.CA = strings.Repeat(testCA, 1000) }, "at most 65536"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := newConfig()
			tt.change(&cfg)
			err := cfg.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "AAAA") {
				t.Errorf("the key is shown: %v", err)
			}
		})
	}
	cfg := newConfig()
	cfg.Image, cfg.Consul.Addresses = "", ""
	if err := cfg.Validate(); strings.Count(err.Error(), "injector: ") != 2 {
		t.Errorf("not every mistake is told: %v", err)
	}
	cfg = newConfig()
	cfg.Compat, cfg.Defaults.IDForm = true, meshpod.IDCompat
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestNoPod(t *testing.T) {
	t.Parallel()
	cfg := newConfig()
	for _, text := range []string{"", "what", "[]", `{"spec":{"containers":"x"}}`} {
		if r, err := Mutate([]byte(text), testNamespace, &cfg); err == nil {
			t.Errorf("%q gives %+v", text, r)
		}
	}
	cfg.DefaultInject = true
	for _, text := range []string{"{}", `{"metadata":{"name":"a"}}`, `{"spec":{"containers":[{"name":"a"}]}}`} {
		if r, err := Mutate([]byte(text), testNamespace, &cfg); err != nil || len(r.Patch) > 0 || r.Refusal != "" {
			t.Errorf("%q gives %+v, %v", text, r, err)
		}
	}
}

func TestNamespacesOfKubernetes(t *testing.T) {
	t.Parallel()
	cfg := newConfig()
	for _, namespace := range []string{"kube-system", "kube-public"} {
		r, err := Mutate(encode(t, newPod(nil)), namespace, &cfg)
		if err != nil || len(r.Patch) > 0 || len(r.Warnings) != 1 {
			t.Errorf("%s: %+v, %v", namespace, r, err)
		}
	}
}

// TestPatchOnlyAdds also covers fields that this program does not know, and
// members that are null.
func TestPatchOnlyAdds(t *testing.T) {
	t.Parallel()
	cfg := newConfig()
	cfg.Native = false
	raw := []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":null,"annotations":{
		"consul.hashicorp.com/connect-inject":"true","consul.hashicorp.com/connect-service":"a",
		"consul.hashicorp.com/connect-service-upstreams":"db:5432","a/b~c":"kept"}},
		"spec":{"volumes":null,"newField":{"x":[1,2.50]},"initContainers":[],"containers":[
		{"name":"app","image":"i","env":null,"newField":12345678901234567890},
		{"name":"two","image":"i","env":[{"name":"A","value":"b","newField":true}]}]}}`)
	r, err := Mutate(raw, testNamespace, &cfg)
	if err != nil || r.Refusal != "" {
		t.Fatal(err, r.Refusal)
	}
	var operations []struct{ Op, Path string }
	if err := json.Unmarshal(r.Patch, &operations); err != nil {
		t.Fatal(err)
	}
	for _, o := range operations {
		if o.Op != "add" {
			t.Errorf("%s %s", o.Op, o.Path)
		}
	}
	after := string(apply(t, raw, r))
	for _, want := range []string{
		`"newField":{"x":[1,2.50]}`, `"newField":12345678901234567890`, `"a/b~c":"kept"`,
		`{"name":"DB_CONNECT_SERVICE_PORT","value":"5432"},{"name":"A","value":"b","newField":true}]`,
	} {
		if !strings.Contains(after, want) {
			t.Errorf("no %s in %s", want, after)
		}
	}
}

// TestSameAgain: replicas must not differ, and neither must two calls.
func TestSameAgain(t *testing.T) {
	t.Parallel()
	cfg := newConfig()
	cfg.Defaults.Metrics = true
	raw := encode(t, newPod(map[string]string{
		meshpod.AnnotationService: "a,b", meshpod.AnnotationServicePort: "8080,9090", meshpod.AnnotationUpstreams: "x:1,y:2",
	}))
	first, err := Mutate(raw, testNamespace, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := Mutate(raw, testNamespace, &cfg)
		if err != nil || string(again.Patch) != string(first.Patch) {
			t.Fatalf("%v\n%s\n%s", err, first.Patch, again.Patch)
		}
	}
}

// TestOrder: who starts when depends on the places in the lists.
func TestOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"native":          {func(*Config) {}, "consul-dataplane migrate | app"},
		"ordinary":        {func(c *Config) { c.Native = false }, "migrate | consul-dataplane app"},
		"compat":          {func(c *Config) { c.Compat = true }, "consul-connect-inject-init consul-dataplane migrate | app"},
		"compat ordinary": {func(c *Config) { c.Compat, c.Native = true, false }, "consul-connect-inject-init migrate | consul-dataplane app"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := newConfig()
			tt.change(&cfg)
			pod := newPod(nil)
			pod.Spec.InitContainers = []corev1.Container{{Name: "migrate", Image: "m"}}
			after := injected(t, pod, cfg)
			var got []string
			for _, c := range after.Spec.InitContainers {
				got = append(got, c.Name)
			}
			got = append(got, "|")
			for _, c := range after.Spec.Containers {
				got = append(got, c.Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s, want %s", strings.Join(got, " "), tt.want)
			}
		})
	}
}

// TestNoPortTwice: no two listeners of a pod's dataplanes are in one place.
func TestNoPortTwice(t *testing.T) {
	t.Parallel()
	cfg := newConfig()
	cfg.Defaults.Metrics, cfg.Defaults.MetricsMerging = true, true
	names, ports := make([]string, 0, meshpod.MaxServices), make([]string, 0, meshpod.MaxServices)
	for i := range meshpod.MaxServices {
		names = append(names, "s"+string(rune('a'+i%26))+string(rune('a'+i/26)))
		ports = append(ports, string(rune('1'+i/10))+"00"+string(rune('0'+i%10)))
	}
	pod := injected(t, newPod(map[string]string{
		meshpod.AnnotationService: strings.Join(names, ","), meshpod.AnnotationServicePort: strings.Join(ports, ","),
	}), cfg)
	taken := map[int]string{}
	all := dataplanes(pod)
	if len(all) != meshpod.MaxServices {
		t.Fatalf("%d dataplanes", len(all))
	}
	for _, c := range all {
		got := load(t, pod, c)
		for what, port := range map[string]int{
			"admin": got.Envoy.AdminBindPort, "ready": got.Envoy.ReadyBindPort, "lifecycle": got.Lifecycle.Port,
			"merge": got.Telemetry.Prometheus.MergePort, "scrape": int(c.Ports[1].ContainerPort),
		} {
			if by, clash := taken[port]; clash {
				t.Errorf("%d is %s of %s, and %s", port, what, c.Name, by)
			}
			taken[port] = what + " of " + c.Name
		}
	}
}
