// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestReadTelemetry(t *testing.T) {
	t.Parallel()
	env := environment("STATSD_URL=udp://10.0.0.9:9125", "DSD=unix:///dsd.sock", "HOST_IP=10.1.2.3")
	env6 := environment("HOST_IP=fd00::7")
	tests := map[string]struct {
		keys   map[string]any
		getenv func(string) string
		want   Telemetry
	}{
		"nothing": {},
		"prometheus": {
			keys: map[string]any{keyPrometheusBindAddr: "[0::0]:20200"},
			want: Telemetry{PrometheusBindAddr: "[::]:20200"},
		},
		"udp": {
			keys: map[string]any{keyStatsdURL: "udp://10.0.0.1:8125", keyDogstatsdURL: "udp://[fd00::1]:8126"},
			want: Telemetry{Statsd: Sink{"udp", "10.0.0.1:8125"}, Dogstatsd: Sink{"udp", "[fd00::1]:8126"}},
		},
		"unix": {
			keys: map[string]any{keyDogstatsdURL: "unix:///run/dsd.sock"},
			want: Telemetry{Dogstatsd: Sink{"unixgram", "/run/dsd.sock"}},
		},
		"variables": {
			keys:   map[string]any{keyStatsdURL: "$STATSD_URL", keyDogstatsdURL: "${DSD}"},
			getenv: env,
			want:   Telemetry{Statsd: Sink{"udp", "10.0.0.9:9125"}, Dogstatsd: Sink{"unixgram", "/dsd.sock"}},
		},
		"host IP": {
			keys:   map[string]any{keyStatsdURL: "udp://$HOST_IP:8125", keyDogstatsdURL: "udp://${HOST_IP}:8125"},
			getenv: env,
			want:   Telemetry{Statsd: Sink{"udp", "10.1.2.3:8125"}, Dogstatsd: Sink{"udp", "10.1.2.3:8125"}},
		},
		"host IPv6": {
			keys:   map[string]any{keyStatsdURL: "udp://[${HOST_IP}]:8125", keyDogstatsdURL: "udp://${HOST_IP}:8125"},
			getenv: env6,
			want:   Telemetry{Statsd: Sink{"udp", "[fd00::7]:8125"}, Dogstatsd: Sink{"udp", "[fd00::7]:8125"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			cfg.Getenv = tt.getenv
			got, err := ReadTelemetry(cfg, testParams(tt.keys))
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if got.Statsd.Enabled() != (tt.want.Statsd != Sink{}) {
				t.Error("Enabled is wrong")
			}
			cfg.UseCentralConfig = false
			if off, err := ReadTelemetry(cfg, testParams(tt.keys)); err != nil || off != (Telemetry{}) {
				t.Errorf("central config off: %+v, %v", off, err)
			}
			mustBuild(t, testConfigWith(tt.getenv), testParams(tt.keys))
		})
	}
}

func testConfigWith(getenv func(string) string) Config {
	cfg := testConfig()
	cfg.Getenv = getenv
	return cfg
}

func TestHostIPMustBeAnAddress(t *testing.T) {
	t.Parallel()
	cfg := testConfigWith(environment("HOST_IP=node.example"))
	_, err := ReadTelemetry(cfg, testParams(map[string]any{keyStatsdURL: "udp://${HOST_IP}:8125"}))
	wantError(t, err, keyStatsdURL, `HOST_IP holds "node.example", not an IP address`)
}

// Whatever listener podplane adds, and the collector's, which Consul adds, serves observers.
func TestObserverStatPrefixes(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Ready = Address{Host: "::", Port: 21000}
	p := testParams(map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200", keyStatsBindAddr: "127.0.0.1:20201"})
	pc, err := readProxyConfig(cfg.withDefaults(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"upstream.consul-telemetry-collector."}
	for _, l := range newStaticListeners(cfg.withDefaults(), pc) {
		want = append(want, l.statPrefix)
	}
	if got := ObserverStatPrefixes(); len(want) != 4 || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What was meant as text comes in many types from HCL, JSON and YAML.
func TestAsText(t *testing.T) {
	t.Parallel()
	for want, in := range map[string]any{
		"":     nil,
		"a":    "a",
		"1.5":  1.5,
		"1e6x": "1e6x",
		"9000": 9000.0,
		"7":    7,
		"8":    int64(8),
		"9":    json.Number("9"),
	} {
		if got, err := asText(in); err != nil || got != want {
			t.Errorf("asText(%v) = %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := asText(struct{}{}); err == nil {
		t.Error("a struct was taken for a text")
	}
	if got, err := asTexts([]string{"a"}); err != nil || len(got) != 1 {
		t.Errorf("asTexts = %q, %v", got, err)
	}
}
