// SPDX-License-Identifier: MPL-2.0

package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample gives each setting a good value that is neither empty nor its default.
func sample(s Setting) string {
	special := map[string]string{
		"mode": "dns-proxy", "log-level": "debug", "addresses": "10.0.0.1", "credential-type": "login",
		"xds-bind-addr": "unix:///run/x.sock", "xds-cache": "/var/cache", "envoy-drain-strategy": "gradual",
		"shutdown-when-idle": "never", "consul-dns-recursors": "system", "telemetry-prom-service-metrics-url": "http://a/m",
		"login-meta": "a=b", "telemetry-use-central-config": "false", "config-file": "x.json",
	}
	if text, ok := special[s.Flag]; ok {
		return text
	}
	switch {
	case s.isSwitch():
		return "true"
	case s.kind() == "number" || s.kind() == "seconds":
		return "17"
	case s.kind() == "duration":
		return "17s"
	case strings.Contains(s.Flag, "addr"):
		return "127.0.0.9"
	default:
		return "/some/" + s.Flag
	}
}

// shows reads a setting back: secrets by their placeholder.
func shows(s Setting, text string) string {
	if s.isSecret() {
		return redacted
	}
	return text
}

func TestEverySettingFromEverySource(t *testing.T) {
	t.Parallel()
	for _, s := range Settings() {
		text := sample(s)
		asJSON := func() string {
			switch {
			case s.isSwitch() || s.kind() == "number" || s.kind() == "seconds":
				return text
			case s.kind() == "key=value":
				return `{"a": "b"}`
			}
			quoted, _ := json.Marshal(text)
			return string(quoted)
		}
		t.Run(s.Flag, func(t *testing.T) {
			t.Parallel()
			sources := map[string]func(l *loader) []given{
				"flag":        func(l *loader) []given { return l.parseArgs([]string{"-" + s.Flag + "=" + text}) },
				"environment": func(l *loader) []given { return l.readEnv(env{s.Env: text}.lookup) },
				"config file": func(l *loader) []given { return l.parseFile("x.json", []byte(nested(s.Key, asJSON()))) },
			}
			for name, read := range sources {
				if name == "environment" && s.Env == "" || name == "config file" && s.Key == "" {
					continue
				}
				l := newLoader(Settings())
				l.apply(read(l))
				if len(l.problems) > 0 {
					t.Fatalf("%s: %v", name, l.problems)
				}
				if got := s.bind(l.cfg).String(); got != shows(s, text) {
					t.Errorf("%s: %q, want %q", name, got, shows(s, text))
				}
				if got := l.cfg.sources[s.target()]; !strings.HasPrefix(got, name+" ") {
					t.Errorf("source %q, want %s", got, name)
				}
			}
		})
	}
}

// nested renders {"a":{"b":value}} for the key a.b.
func nested(key, value string) string {
	for _, part := range slices.Backward(strings.Split(key, ".")) {
		value = `{"` + part + `": ` + value + `}`
	}
	return value
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "c.json", `{"consul": {"grpcPort": 1001}, "logging": {"logLevel": "error"}, "envoy": {"concurrency": 5},
		"telemetry": {"useCentralConfig": false}}`)
	e := env{"DP_CONSUL_GRPC_PORT": "1002", "DP_LOG_LEVEL": "WARN", "DP_ENVOY_CONCURRENCY": "", "DP_TELEMETRY_USE_CENTRAL_CONFIG": "1"}
	c := mustLoad(t, valid("-config-file", file, "--grpc-port", "1003"), e)
	if c.Consul.GRPCPort != 1003 || c.Logging.Level != "warn" || c.Envoy.Concurrency != 5 || !c.Telemetry.UseCentralConfig {
		t.Errorf("flag 1003, variable warn, file 5 and variable true expected: %v", c)
	}
	if c.Lifecycle.Port != 20600 || c.ConfigFile != file {
		t.Errorf("lifecycle port %d, config file %q", c.Lifecycle.Port, c.ConfigFile)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, valid(), nil)
	if c.Mode != ModeSidecar || c.XDSServer != (XDSServer{Cache: CacheMemory}) || c.Envoy.DrainTime != 30*time.Second {
		t.Errorf("defaults: %+v", c)
	}
	if c.Telemetry.Prometheus.RetentionTime != time.Minute || c.Envoy.ReadyEnabled() || len(c.Warnings) != 0 {
		t.Errorf("defaults: %+v, warnings %v", c, c.Warnings)
	}
}

func TestLoginMetaAddsUp(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "c.json", `{"consul": {"credentials": {"login": {"meta": {"file": "1", "both": "file"}}}}}`)
	e := env{"DP_CREDENTIAL_LOGIN_META": "pod=ns/web", "DP_CREDENTIAL_LOGIN_META1": "pod=ns/web-1", "DP_CREDENTIAL_LOGIN_META9": "uid=a=b", "DP_CREDENTIAL_LOGIN_META10": "no=1"}
	c := mustLoad(t, valid("-config-file="+file, "-login-meta", "both=flag", "-login-meta=empty="), e)
	want := map[string]string{"file": "1", "both": "flag", "pod": "ns/web-1", "uid": "a=b", "empty": ""}
	if got := c.Consul.Credentials.Login.Meta; !maps.Equal(got, want) {
		t.Errorf("meta %v, want %v", got, want)
	}
}

func TestXDSAddress(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args       []string
		addr, unix string
		port       int
	}{
		"private socket":       {},
		"port alone":           {args: []string{"-xds-bind-port=1234"}, addr: "127.0.0.1", port: 1234},
		"any port, on request": {args: []string{"-xds-bind-port=0"}, addr: "127.0.0.1"},
		"address alone":        {args: []string{"-xds-bind-addr=::1"}, addr: "::1"},
		"localhost":            {args: []string{"-xds-bind-addr=localhost"}, addr: "127.0.0.1"},
		"path":                 {args: []string{"-xds-bind-addr=unix:///run/xds"}, addr: "unix:///run/xds", unix: "/run/xds"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := mustLoad(t, valid(tc.args...), nil).XDSServer
			if x.BindAddr != tc.addr || x.BindPort != tc.port || x.UnixPath() != tc.unix {
				t.Errorf("%+v, path %q", x, x.UnixPath())
			}
		})
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	args := valid("-telemetry-prom-service-metrics-url=http://127.0.0.1:9090/metrics, https://[::1]/m",
		"-consul-dns-recursors=system,1.1.1.1,[2001:db8::1]:5353,2001:db8::2")
	c := mustLoad(t, args, nil)
	if want := []string{"http://127.0.0.1:9090/metrics", "https://[::1]/m"}; !reflect.DeepEqual(c.Telemetry.Prometheus.ServiceMetricsURLs, want) {
		t.Errorf("URLs %q", c.Telemetry.Prometheus.ServiceMetricsURLs)
	}
	if want := []string{"system", "1.1.1.1:53", "[2001:db8::1]:5353", "[2001:db8::2]:53"}; !reflect.DeepEqual(c.DNSServer.Recursors, want) {
		t.Errorf("recursors %q", c.DNSServer.Recursors)
	}
	file := writeFile(t, "c.json", `{"dnsServer": {"recursors": ["9.9.9.9", "system"]}, "telemetry": {"prometheus": {"serviceMetricsURL": "http://a,http://b"}}}`)
	c = mustLoad(t, valid("-config-file="+file, "-consul-dns-recursors="), nil)
	if len(c.DNSServer.Recursors) != 0 || len(c.Telemetry.Prometheus.ServiceMetricsURLs) != 2 {
		t.Errorf("recursors %q, URLs %q", c.DNSServer.Recursors, c.Telemetry.Prometheus.ServiceMetricsURLs)
	}
}

func TestHelpAndVersionForgive(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"-h", "-help", "--help", "-version", "--version"} {
		c, err := Load([]string{"-nonsense", "-grpc-port=x", "-config-file=/nowhere.json", arg}, env{}.lookup)
		if err != nil {
			t.Fatalf("%s: %v", arg, err)
		}
		if c.Help == c.Version || c.Version != strings.HasSuffix(arg, "version") {
			t.Errorf("%s: help %v, version %v", arg, c.Help, c.Version)
		}
	}
}

func TestCheckProxyHealthNeedsNoServers(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "c.json", `{"envoy": {"adminBindPort": 19999}}`)
	c := mustLoad(t, []string{"-check-proxy-health", "-config-file", file}, env{"DP_ENVOY_ADMIN_BIND_ADDRESS": "::1"})
	if !c.CheckProxyHealth || c.Envoy.AdminBindPort != 19999 || c.Envoy.AdminBindAddr != "::1" {
		t.Errorf("%+v", c)
	}
	wantOne(t, problems(t, []string{"-check-proxy-health", "-envoy-admin-bind-port=0"}, nil), "flag -envoy-admin-bind-port")
}
