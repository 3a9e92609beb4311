// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"podplane/config"
	"podplane/meshpod"
)

// resolved is an environment as the kubelet makes it.
func resolved(t testing.TB, pod *corev1.Pod, c corev1.Container) map[string]string {
	t.Helper()
	fields := map[string]string{
		"metadata.name": pod.Name, "metadata.namespace": testNamespace, "metadata.uid": "0c9a", "spec.nodeName": "node-1",
		"status.hostIP": "10.0.0.1", "status.podIP": "10.1.0.7",
	}
	if pod.Name == "" {
		fields["metadata.name"] = pod.GenerateName + "x7k2p"
	}
	env := map[string]string{}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			env[v.Name] = expand(v.Value, env)
			continue
		}
		value, ok := fields[v.ValueFrom.FieldRef.FieldPath]
		if !ok {
			t.Fatalf("%s: no field %s", v.Name, v.ValueFrom.FieldRef.FieldPath)
		}
		env[v.Name] = value
	}
	return env
}

// expand does what the kubelet does with $(NAME) and $$.
func expand(s string, env map[string]string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "$$"):
			out.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "$("):
			name, _, closed := strings.Cut(rest[2:], ")")
			value, known := env[name]
			if !closed || !known {
				out.WriteByte('$')
				continue
			}
			out.WriteString(value)
			i += len(name) + 2
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

// load reads the settings of a container as podplane would.
func load(t testing.TB, pod *corev1.Pod, c corev1.Container) *config.Config {
	t.Helper()
	env := resolved(t, pod, c)
	var args []string
	for _, arg := range c.Args {
		args = append(args, written(t, pod, expand(arg, env)))
	}
	cfg, err := config.Load(args, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatalf("%s: podplane refuses its settings: %v\n%s\n%v", c.Name, err, strings.Join(args, "\n"), env)
	}
	for _, warning := range cfg.Warnings {
		compat := len(pod.Spec.InitContainers) > 0 && pod.Spec.InitContainers[0].Name == meshpod.ContainerCompat
		if !compat || !strings.Contains(warning, "is deprecated: use -proxy-") {
			t.Errorf("%s: podplane warns: %s", c.Name, warning)
		}
	}
	return cfg
}

// written puts the files that the container of -compat writes where this process
// can read them, and names them instead.
func written(t testing.TB, pod *corev1.Pod, arg string) string {
	t.Helper()
	flag, path, _ := strings.Cut(arg, "=")
	if flag != "-proxy-service-id-path" {
		return arg
	}
	for _, c := range pod.Spec.InitContainers {
		for _, file := range c.Args {
			if content, ours := strings.CutPrefix(file, path+"="); ours && c.Name == meshpod.ContainerCompat {
				copied := filepath.Join(t.TempDir(), "proxyid")
				if err := os.WriteFile(copied, []byte(expand(content, resolved(t, pod, c))), 0o600); err != nil {
					t.Fatal(err)
				}
				return flag + "=" + copied
			}
		}
	}
	t.Fatalf("nobody writes %s", path)
	return ""
}

func TestSettings(t *testing.T) {
	t.Parallel()
	cfg := newConfig()
	cfg.Login = Login{AuthMethod: "podplane"}
	cfg.Consul.TLSDisabled, cfg.Consul.TLSServerName, cfg.Consul.CA = false, "server.dc1.consul", testCA
	pod := newPod(map[string]string{
		meshpod.AnnotationService: "web", meshpod.AnnotationMetrics: "true", meshpod.AnnotationMetricsMerging: "true",
		meshpod.AnnotationExtraArgs: "--component-log-level 'a:$(POD_NAME)'",
	})
	seconds := int64(45)
	pod.Spec.TerminationGracePeriodSeconds = &seconds
	after := injected(t, pod, cfg)
	all := dataplanes(after)
	if len(all) != 1 {
		t.Fatalf("%d dataplanes", len(all))
	}
	got := load(t, after, all[0])
	for what, is := range map[string]bool{
		"proxy ID":   got.Proxy.ID == "shop.web-0-0-sidecar-proxy" && got.Proxy.NodeName == "node-1-virtual",
		"ready":      got.Envoy.ReadyBindAddr == "10.1.0.7" && got.Envoy.ReadyBindPort == 21000,
		"login":      got.Consul.Credentials.Type == config.CredentialLogin && got.Consul.Credentials.Login.AuthMethod == "podplane",
		"token":      got.Consul.Credentials.Login.BearerTokenPath == "/consul/dataplane/token",
		"meta":       got.Consul.Credentials.Login.Meta["pod"] == "shop/web-0" && got.Consul.Credentials.Login.Meta["pod-uid"] == "0c9a",
		"tls":        got.Consul.TLS.CACertsPath == "/consul/dataplane/ca.pem" && got.Consul.TLS.ServerName == "server.dc1.consul",
		"lifecycle":  got.Lifecycle.Port == 20600 && got.Lifecycle.ShutdownWhenIdle == config.IdleAlways,
		"metrics":    strings.Join(got.Telemetry.Prometheus.ServiceMetricsURLs, " ") == "http://127.0.0.1:8080/metrics",
		"merge port": got.Telemetry.Prometheus.MergePort == 20100,
		"envoy args": strings.Join(got.EnvoyArgs, " ") == "--component-log-level a:$(POD_NAME)",
	} {
		if !is {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

const testCA = `-----BEGIN CERTIFICATE-----
MIIBWTCCAQCgAwIBAgIBATAKBggqhkjOPQQDAjASMRAwDgYDVQQDEwd0ZXN0IGNh
-----END CERTIFICATE-----
`
