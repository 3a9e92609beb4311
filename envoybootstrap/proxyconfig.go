// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
)

// The proxy-config keys that act on the bootstrap.
// https://developer.hashicorp.com/consul/docs/reference/proxy/envoy#bootstrap-configuration
const (
	keyStatsdURL          = "envoy_statsd_url"
	keyDogstatsdURL       = "envoy_dogstatsd_url"
	keyStatsTags          = "envoy_stats_tags"
	keyPrometheusBindAddr = "envoy_prometheus_bind_addr"
	keyStatsBindAddr      = "envoy_stats_bind_addr"
	keyTemplate           = "envoy_bootstrap_json_tpl"
	keyExtraClusters      = "envoy_extra_static_clusters_json"
	keyExtraListeners     = "envoy_extra_static_listeners_json"
	keyExtraSinks         = "envoy_extra_stats_sinks_json"
	keyStatsConfig        = "envoy_stats_config_json"
	keyStatsFlushInterval = "envoy_stats_flush_interval"
	keyTracing            = "envoy_tracing_json"
	keyCollectorSocketDir = "envoy_telemetry_collector_bind_socket_dir"
)

// proxyConfig is what the proxy-config keys say, checked. Zero fields are keys that are not set.
type proxyConfig struct {
	telemetry          Telemetry
	prometheusBind     *Address
	statsBind          *Address
	statsTags          []statsTag
	statsConfig        json.RawMessage
	statsFlushInterval string
	extraClusters      []json.RawMessage
	extraListeners     []json.RawMessage
	extraSinks         []json.RawMessage
	tracing            json.RawMessage
	collectorDir       string
	template           string
}

func (pc proxyConfig) hasPrometheus() bool { return pc.prometheusBind != nil }

// readProxyConfig reads every key, so that all problems show at once. With the central configuration off it gives the
// zero value.
func readProxyConfig(cfg Config, p Params) (proxyConfig, error) {
	if !cfg.UseCentralConfig {
		return proxyConfig{}, nil
	}
	r := &keyReader{values: p.ProxyConfig}
	pc := proxyConfig{
		prometheusBind:     read(r, keyPrometheusBindAddr, optional(parseAddress)),
		statsBind:          read(r, keyStatsBindAddr, optional(parseAddress)),
		statsTags:          r.statsTags(),
		statsConfig:        r.object(keyStatsConfig),
		statsFlushInterval: read(r, keyStatsFlushInterval, parseFlushInterval),
		extraClusters:      r.objects(keyExtraClusters),
		extraListeners:     r.objects(keyExtraListeners),
		extraSinks:         r.objects(keyExtraSinks),
		tracing:            r.object(keyTracing),
		collectorDir: read(r, keyCollectorSocketDir, func(dir string) (string, error) {
			return dir, checkSocketPath(collectorSocket(dir, p.namespace(), cfg.ProxyID))
		}),
		template: read(r, keyTemplate, verbatim),
		telemetry: Telemetry{
			Statsd: read(r, keyStatsdURL, func(s string) (Sink, error) {
				return parseSink(s, cfg.Getenv, networkUDP)
			}),
			Dogstatsd: read(r, keyDogstatsdURL, func(s string) (Sink, error) {
				return parseSink(s, cfg.Getenv, networkUDP, networkUnix)
			}),
		},
	}
	if pc.hasPrometheus() {
		pc.telemetry.PrometheusBindAddr = pc.prometheusBind.String()
	}
	return pc, errors.Join(r.problems...)
}

// keyReader reads single keys and collects what is wrong with them.
type keyReader struct {
	values   map[string]any
	problems []error
}

func (r *keyReader) fail(key string, err error) {
	r.problems = append(r.problems, keyError(key, err))
}

func keyError(key string, err error) error {
	return fmt.Errorf("proxy config key %q: %w", key, err)
}

// read parses a key's text. A missing key and an empty text give the zero value.
func read[T any](r *keyReader, key string, parse func(string) (T, error)) T {
	var zero T
	s, err := asText(r.values[key])
	if err == nil && s == "" {
		return zero
	}
	var v T
	if err == nil {
		v, err = parse(s)
	}
	if err != nil {
		r.fail(key, err)
		return zero
	}
	return v
}

func verbatim(s string) (string, error) { return s, nil }

// optional makes a parser's result a pointer, of which nil stands for a key that is not set.
func optional[T any](parse func(string) (T, error)) func(string) (*T, error) {
	return func(s string) (*T, error) {
		v, err := parse(s)
		return &v, err
	}
}

// objects reads a list of JSON objects.
func (r *keyReader) objects(key string) []json.RawMessage {
	text, err := asJSON(r.values[key])
	if err == nil {
		var list []json.RawMessage
		if list, err = parseObjects(text); err == nil {
			return list
		}
	}
	r.fail(key, err)
	return nil
}

// object reads a single JSON object, or nil if the key is not set.
func (r *keyReader) object(key string) json.RawMessage {
	text, err := asJSON(r.values[key])
	if err == nil {
		if isBlank(text) {
			return nil
		}
		var obj json.RawMessage
		if obj, err = parseObject(text); err == nil {
			return obj
		}
	}
	r.fail(key, err)
	return nil
}

func (r *keyReader) statsTags() []statsTag {
	texts, err := asTexts(r.values[keyStatsTags])
	if err != nil {
		r.fail(keyStatsTags, err)
		return nil
	}
	var tags []statsTag
	for _, s := range texts {
		tag, err := parseStatsTag(s)
		if err != nil {
			r.fail(keyStatsTags, err)
			continue
		}
		tags = append(tags, tag)
	}
	return tags
}

// collectorSocket is the path at which Consul configures the telemetry collector's listener for the proxy: see
// [collectorSocketName].
func collectorSocket(dir, namespace, proxyID string) string {
	return path.Join(dir, collectorSocketName(namespace, proxyID))
}
