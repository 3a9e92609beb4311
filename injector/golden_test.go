// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"podplane/meshpod"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden compares, for each testdata/CASE.input.yaml, the pod as it is after
// admission with CASE.golden.yaml, and what was said with CASE.report. A pod that
// is left as it was has no golden file. The first line of an input, "# with: …",
// names how the companion is configured, see configured.
func TestGolden(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob(filepath.Join("testdata", "*.input.yaml"))
	if err != nil || len(inputs) == 0 {
		t.Fatal("there are no inputs", err)
	}
	for _, path := range inputs {
		base := strings.TrimSuffix(path, ".input.yaml")
		t.Run(filepath.Base(base), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			raw, cfg := readInput(t, data)
			r, err := Mutate(raw, testNamespace, &cfg)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, base+".report", []byte(report(r)))
			if len(r.Patch) == 0 {
				if _, err := os.Stat(base + ".golden.yaml"); err == nil {
					t.Errorf("%s.golden.yaml is of a pod that is left as it was", base)
				}
				return
			}
			after := apply(t, raw, r)
			text, err := yaml.JSONToYAML(after)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, base+".golden.yaml", text)
			checkInjected(t, raw, after, cfg)
		})
	}
}

// checkInjected is what must hold for every injected pod.
func checkInjected(t *testing.T, raw, after []byte, cfg Config) {
	t.Helper()
	var before, pod corev1.Pod
	if err := yaml.UnmarshalStrict(raw, &before); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(after, &pod); err != nil {
		t.Fatal(err)
	}
	if again, err := Mutate(after, testNamespace, &cfg); err != nil || len(again.Patch) > 0 || again.Refusal != "" {
		t.Errorf("the second time: %v, refusal %q, patch %s", err, again.Refusal, again.Patch)
	}
	if v := violations(t, &pod); v != "" && violations(t, &before) == "" {
		t.Errorf("it was restricted before: %s", v)
	}
	for _, c := range dataplanes(&pod) {
		load(t, &pod, c)
	}
	if !meshpod.Carries(&pod) || meshpod.Dataplanes(&pod) != len(dataplanes(&pod)) {
		t.Errorf("an injected pod is not recognised: %d of %d dataplanes", meshpod.Dataplanes(&pod), len(dataplanes(&pod)))
	}
	// The registrar reads the injected pod with the same package, and must see what the sidecar was told, whatever the
	// defaults are by then.
	was, _ := meshpod.Parse(&before, cfg.withDefaults().Defaults)
	other := meshpod.Defaults{Metrics: !cfg.Defaults.Metrics, MetricsMerging: true, ScrapePort: 9300, MergePort: 9400, GracefulPort: 9500}
	is, problems := meshpod.Parse(&pod, other)
	if problems.Err() != nil {
		t.Errorf("an injected pod is read with errors: %v", problems.Err())
	}
	for i := range was.Services {
		if was.Services[i] != is.Services[i] || was.PrometheusBindAddr(was.Services[i]) != is.PrometheusBindAddr(is.Services[i]) ||
			was.Lifecycle.Enabled != is.Lifecycle.Enabled || was.Lifecycle.ShutdownGrace != is.Lifecycle.ShutdownGrace ||
			was.ProxyID("n", "p", was.Services[i]) != is.ProxyID("n", "p", is.Services[i]) {
			t.Errorf("service %d is %+v before and %+v after", i, was.Services[i], is.Services[i])
		}
	}
}

// violations are those of Pod Security restricted.
func violations(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	if result.Allowed {
		return ""
	}
	return result.ForbiddenDetail()
}

// report is what was said, one a line.
func report(r Result) string {
	var b strings.Builder
	switch {
	case r.Refusal != "":
		fmt.Fprintln(&b, "refused:", strings.ReplaceAll(r.Refusal, "; "+meshpod.Prefix, ";\n  "+meshpod.Prefix))
	case len(r.Patch) == 0:
		fmt.Fprintln(&b, "left alone")
	default:
		fmt.Fprintln(&b, "injected")
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, "warning:", w)
	}
	return b.String()
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it); got\n%s", path, got)
	}
}

// readInput gives the pod as JSON, and the configuration.
func readInput(t *testing.T, data []byte) ([]byte, Config) {
	t.Helper()
	first, _, _ := strings.Cut(string(data), "\n")
	words, ok := strings.CutPrefix(first, "# with:")
	if !ok {
		t.Fatalf("the first line is %q", first)
	}
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(data, &pod); err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		t.Fatal(err)
	}
	return compact.Bytes(), configured(t, strings.Fields(words))
}

// configured is a companion's configuration by words.
func configured(t *testing.T, words []string) Config {
	t.Helper()
	cfg := newConfig()
	for _, word := range words {
		switch word {
		case "-": // as it is
		case "tls":
			cfg.Consul.TLSDisabled, cfg.Consul.TLSServerName, cfg.Consul.CA = false, "server.dc1.consul", testCA
		case "system-ca":
			cfg.Consul.TLSDisabled = false
		case "skip-verify":
			cfg.Consul.TLSDisabled, cfg.Consul.TLSSkipVerify = false, true
		case "external":
			cfg.Consul.Addresses, cfg.Consul.GRPCPort, cfg.Consul.ServerWatchDisabled = `exec=/bin/discover --env="$ZONE"`, 8503, true
		case "acl":
			cfg.Login = Login{AuthMethod: "podplane"}
		case "any-account":
			cfg.Login = Login{AuthMethod: "podplane", AnyAccount: true}
		case "audience":
			cfg.Login = Login{AuthMethod: "podplane", Audience: "consul", ExpirySeconds: 7200}
		case "ordinary":
			cfg.Native = false
		case "old":
			cfg.Native, cfg.NativeMissing = false, "the API server is v1.28.4, and native sidecars take 1.29"
		case "compat":
			cfg.Compat, cfg.Image = true, "hashicorp/consul-dataplane:1.9"
		case "default-inject":
			cfg.DefaultInject = true
		case "denied":
			cfg.DenyNamespaces = []string{testNamespace}
		case "not-allowed":
			cfg.AllowNamespaces = []string{"other"}
		case "allowed":
			cfg.AllowNamespaces = []string{"other", testNamespace}
		case "mirror":
			cfg.Destination, cfg.Partition = meshpod.Destination{Enabled: true, Mirror: true, Prefix: "k8s-"}, "west"
		case "destination":
			cfg.Destination = meshpod.Destination{Enabled: true, Namespace: "apps"}
		case "metrics":
			cfg.Defaults.Metrics, cfg.Defaults.MetricsMerging = true, true
		case "json":
			cfg.LogJSON, cfg.LogLevel, cfg.PullPolicy = true, "debug", "Always"
		default:
			t.Fatalf("there is no configuration %q", word)
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}
