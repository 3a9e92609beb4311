// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"podplane/config"
	"podplane/dnsproxy"
	"podplane/envoy"
	"podplane/envoybootstrap"
	"podplane/lifecycle"
	"podplane/metrics"
	"podplane/selfregister"
	"podplane/serverconn"
	"podplane/xdsproxy"
)

// parts is what all settings become.
type parts struct {
	Admin     envoy.AdminConfig
	Envoy     envoy.Config
	Session   serverconn.Config
	XDS       xdsproxy.Config
	DNS       dnsproxy.Config
	Metrics   metrics.Config
	Drain     lifecycle.DrainConfig
	Lifecycle lifecycle.ServerConfig
	Proxy     serverconn.ProxyRef
	Bootstrap envoybootstrap.Config

	Registration selfregister.Config
}

func translate(c *config.Config) parts {
	return parts{
		Admin:     adminConfig(c.Envoy),
		Envoy:     envoyConfig(c),
		Session:   sessionConfig(c.Consul),
		XDS:       xdsConfig(c.XDSServer),
		DNS:       dnsConfig(c),
		Metrics:   metricsConfig(c.Telemetry.Prometheus),
		Drain:     drainConfig(c),
		Lifecycle: lifecycleConfig(c.Lifecycle),
		Proxy:     proxyRef(c.Proxy),
		Bootstrap: bootstrapConfig(c),

		Registration: registrationConfig(c),
	}
}

// notTranslated are the settings that no part gets, each with the reason.
var notTranslated = map[string]string{
	"Mode":                               "decides which parts there are: see TestDNSProxyMode",
	"Proxy.IDPath":                       "config has read the file",
	"ConfigFile":                         "config has read the file",
	"Help":                               "the program's",
	"Version":                            "the program's",
	"CheckProxyHealth":                   "the program's",
	"Warnings":                           "the program logs them",
	"Telemetry.Prometheus.RetentionTime": "own metrics have no expiry: they are few and constant",
	"Lifecycle.DumpEnvoyConfigOnExit":    "decides about a function: see TestDumpOnExit",
}

// notFromSettings are the fields of the parts that are given at run time, or
// left at the part's default.
var notFromSettings = []string{
	// Given when the part is built.
	"Envoy.Admin", "Envoy.Env", "Envoy.Registerer", "Session.Registerer", "Session.Logins", "XDS.PeerPID", "XDS.Secret",
	"XDS.Upstream", "XDS.Changed", "XDS.Epoch", "XDS.Leave", "XDS.Store", "XDS.Registerer", "DNS.Conn", "DNS.Settle", "DNS.Registerer",
	"Metrics.Registry", "Metrics.EnvoyURL",
	"Drain.Proxy", "Drain.StopTimeout", "Drain.Dump", "Drain.Readiness", "Drain.Registerer",
	"Lifecycle.Drainer", "Lifecycle.Readiness", "Lifecycle.WaitLive", "Lifecycle.Alive", "Lifecycle.LogLevel", "Lifecycle.Status",
	"Bootstrap.XDS.Address", "Bootstrap.XDS.Secret", "Bootstrap.Prometheus.Merge.Host",
	"Bootstrap.Prometheus.Merge.Port", "Bootstrap.Getenv",
	"Registration.Definition", "Registration.Server", "Registration.Changes", "Registration.Redact", "Registration.Ready",
	"Registration.Draining", "Registration.Report", "Registration.Registerer",
	// Left at their defaults.
	"Admin.Timeout", "Admin.DumpTimeout", "Envoy.MaxBackoff", "Envoy.QuitTimeout", "Envoy.TermTimeout",
	"Envoy.KillTimeout", "Envoy.LivePoll", "Envoy.Stdout", "Envoy.Stderr", "Drain.Poll", "Metrics.MaxInFlight",
	"Metrics.Timeout", "XDS.MaxStreamAge", "XDS.FirstPatience", "DNS.ResolvConf", "DNS.Domain", "DNS.MaxInFlight", "DNS.Timeout",
	// Instead of a file, as the path of the CAs is one or a folder.
	"Bootstrap.Prometheus.CADir", "Bootstrap.Prometheus.CABundle",
}

// full is a configuration in which every setting has an effect and no two have
// the same value.
func full() *config.Config {
	c := config.Default()
	n := 0
	for _, l := range leaves(reflect.ValueOf(c).Elem(), "") {
		n++
		switch v := l.value; v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString(fmt.Sprintf("value-%d", n))
		case reflect.Int, reflect.Int64:
			v.SetInt(int64(1000 + n))
		case reflect.Slice:
			v.Set(reflect.ValueOf([]string{fmt.Sprintf("value-%d", n)}))
		case reflect.Map:
			v.Set(reflect.ValueOf(map[string]string{fmt.Sprintf("key-%d", n): "value"}))
		default:
			panic("a setting of a new kind: " + l.path)
		}
	}
	c.XDSServer.Cache = config.CacheOff
	return c
}

// leaf is a field that is no struct.
type leaf struct {
	path  string
	value reflect.Value
}

// leaves lists the exported ones.
func leaves(v reflect.Value, path string) []leaf {
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[time.Time]() {
		return []leaf{{strings.TrimPrefix(path, "."), v}}
	}
	var all []leaf
	for field, value := range v.Fields() {
		if field.IsExported() {
			all = append(all, leaves(value, path+"."+field.Name)...)
		}
	}
	return all
}

// TestEverySettingArrives changes one setting after the other and looks whether
// any part is told something else.
func TestEverySettingArrives(t *testing.T) {
	t.Parallel()
	before := translate(full())
	paths := map[string]bool{}
	for i, l := range leaves(reflect.ValueOf(full()).Elem(), "") {
		paths[l.path] = true
		changed := full()
		change(leaves(reflect.ValueOf(changed).Elem(), "")[i].value)
		_, excused := notTranslated[l.path]
		switch arrives := !reflect.DeepEqual(before, translate(changed)); {
		case !arrives && !excused:
			t.Errorf("%s has no effect on any part", l.path)
		case arrives && excused:
			t.Errorf("%s has an effect; it is listed as one without: %s", l.path, notTranslated[l.path])
		}
	}
	for path := range maps.Keys(notTranslated) {
		if !paths[path] {
			t.Errorf("there is no setting %s", path)
		}
	}
}

func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "-changed")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + int64(time.Second))
	case reflect.Slice, reflect.Map:
		v.SetZero()
	default:
		panic("a setting of a new kind")
	}
}

// TestEveryFieldIsGiven: with every setting set, every field of the parts is,
// but for those that are listed.
func TestEveryFieldIsGiven(t *testing.T) {
	t.Parallel()
	paths := map[string]bool{}
	for _, l := range leaves(reflect.ValueOf(translate(full())), "") {
		paths[l.path] = true
		switch listed := slices.Contains(notFromSettings, l.path); {
		case l.value.IsZero() && !listed:
			t.Errorf("%s is not given by any setting", l.path)
		case !l.value.IsZero() && listed:
			t.Errorf("%s is given; it is listed as not", l.path)
		}
	}
	for _, path := range notFromSettings {
		if !paths[path] {
			t.Errorf("no part has a field %s", path)
		}
	}
}

// TestTranslation looks at whole values: the tests above see that something
// arrives, this one that it arrives in its place.
func TestTranslation(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	ca := newCA(t)
	putFile(t, folder, "ca.pem", ca)
	c, err := config.Load([]string{
		"-addresses=exec=discover", "-grpc-port=8503", "-server-watch-disabled", "-ca-certs=/ca", "-tls-cert=/cert",
		"-tls-key=/key", "-tls-server-name=consul.example", "-tls-insecure-skip-verify", "-credential-type=login",
		"-static-token=static", "-login-auth-method=method", "-login-namespace=login-ns", "-login-partition=login-part",
		"-login-datacenter=login-dc", "-login-bearer-token=bearer", "-login-bearer-token-path=/bearer", "-login-meta=k=v",
		"-proxy-id=web", "-proxy-node-name=node", "-proxy-node-id=id", "-proxy-namespace=ns", "-proxy-partition=part",
		"-log-level=debug", "-log-json", "-xds-bind-addr=127.0.0.2", "-xds-bind-port=1001", "-xds-cache=off",
		"-consul-dns-bind-addr=127.0.0.7", "-consul-dns-bind-port=1006", "-consul-dns-recursors=127.0.0.8:53",
		"-consul-dns-cache-size=11", "-consul-dns-stale-seconds=12",
		"-envoy-executable-path=/envoy", "-envoy-admin-bind-address=127.0.0.3", "-envoy-admin-bind-port=1002",
		"-envoy-ready-bind-address=127.0.0.4", "-envoy-ready-bind-port=1003", "-envoy-concurrency=3",
		"-envoy-drain-time-seconds=4", "-envoy-drain-strategy=gradual", "-envoy-max-restarts=5", "-envoy-restart-window-seconds=6",
		"-graceful-addr=127.0.0.5", "-graceful-port=1004", "-graceful-shutdown-path=/down", "-graceful-startup-path=/up",
		"-shutdown-drain-listeners", "-shutdown-grace-period-seconds=7", "-shutdown-when-idle=never",
		"-startup-grace-period-seconds=8", "-termination-grace-period-seconds=9",
		"-telemetry-prom-ca-certs-path=" + folder, "-telemetry-prom-cert-file=/prom-cert", "-telemetry-prom-key-file=/prom-key",
		"-telemetry-prom-service-metrics-url=http://127.0.0.1:1/a,http://127.0.0.1:2/b", "-telemetry-prom-scrape-path=/scrape",
		"-telemetry-prom-merge-port=1005", "-telemetry-prom-merge-bind-addr=127.0.0.6", "-telemetry-prom-scrape-max-bytes=10",
		"-consul-http-port=1007", "-consul-http-tls-disabled",
		"--", "--envoy-argument",
	}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	want := parts{
		Admin: envoy.AdminConfig{
			Address: "127.0.0.3:1002", IgnoreHTTP: []string{"envoy_prometheus_metrics", "envoy_metrics", "envoy_ready", "upstream.consul-telemetry-collector."},
		},
		Envoy: envoy.Config{
			Path: "/envoy", ExtraArgs: []string{"--envoy-argument"}, LogLevel: "debug", LogJSON: true, Concurrency: 3,
			DrainTime: 4 * time.Second, DrainStrategy: "gradual", MaxRestarts: 5, RestartWindow: 6 * time.Second,
		},
		Session: serverconn.Config{
			Addresses: "exec=discover", GRPCPort: 8503, ServerWatchDisabled: true, MaxRefusals: maxRefusals,
			TLS: serverconn.TLSConfig{
				CAPath: "/ca", CertFile: "/cert", KeyFile: "/key", ServerName: "consul.example", InsecureSkipVerify: true,
			},
			Credentials: serverconn.Credentials{
				Type: serverconn.CredentialLogin, StaticToken: "static",
				Login: serverconn.LoginConfig{
					AuthMethod: "method", Namespace: "login-ns", Partition: "login-part", Datacenter: "login-dc",
					BearerToken: "bearer", BearerTokenPath: "/bearer", Meta: map[string]string{"k": "v"},
				},
			},
		},
		XDS: xdsproxy.Config{Addr: "127.0.0.2:1001", NoCache: true, MaxRefusals: maxRefusals},
		DNS: dnsproxy.Config{
			Addr: "127.0.0.7:1006", Namespace: "ns", Partition: "part", Recursors: []string{"127.0.0.8:53"},
			CacheSize: 11, Stale: 12 * time.Second,
		},
		Metrics: metrics.Config{
			Addr: "127.0.0.6:1005", ApplicationURLs: []string{"http://127.0.0.1:1/a", "http://127.0.0.1:2/b"}, MaxSourceBytes: 10,
		},
		Drain: lifecycle.DrainConfig{
			Grace: 7 * time.Second, DrainInbound: true, DrainTime: 4 * time.Second, WhenIdle: lifecycle.IdleNever, TerminationGrace: 9 * time.Second,
		},
		Lifecycle: lifecycle.ServerConfig{
			Addr: "127.0.0.5", Port: 1004, ShutdownPath: "/down", StartupPath: "/up", StartupGrace: 8 * time.Second,
		},
		Proxy: serverconn.ProxyRef{ID: "web", NodeID: "id", NodeName: "node", Namespace: "ns", Partition: "part"},
		Bootstrap: envoybootstrap.Config{
			ProxyID: "web", UseCentralConfig: true,
			Admin: envoybootstrap.Address{Host: "127.0.0.3", Port: 1002},
			Ready: envoybootstrap.Address{Host: "127.0.0.4", Port: 1003},
			Prometheus: envoybootstrap.Prometheus{
				ScrapePath: "/scrape", CertFile: "/prom-cert", KeyFile: "/prom-key", CADir: folder, CABundle: ca,
			},
		},
		Registration: selfregister.Config{
			Node: "node", Instance: selfregister.Instance(""), Namespace: "ns", Partition: "part", HTTPPort: 1007, Plain: true,
		},
	}
	got := leaves(reflect.ValueOf(translate(c)), "")
	for i, w := range leaves(reflect.ValueOf(want), "") {
		if w.value.Kind() == reflect.Func {
			continue // given at run time
		}
		if !reflect.DeepEqual(got[i].value.Interface(), w.value.Interface()) {
			t.Errorf("%s is %v, want %v", w.path, got[i].value, w.value)
		}
	}
}

func TestXDSAddress(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]config.XDSServer{
		"":                {BindPort: 5},
		"unix:///run/xds": {BindAddr: "unix:///run/xds", BindPort: 5},
		"127.0.0.1:5":     {BindAddr: "127.0.0.1", BindPort: 5},
		"[::1]:0":         {BindAddr: "::1"},
	} {
		if got := xdsConfig(c).Addr; got != want {
			t.Errorf("%+v gives %q, want %q", c, got, want)
		}
	}
}
