// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"crypto/sha1" //nolint:gosec // a file name that Consul derives in this way
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// statsdSink is envoy.config.metrics.v3.StatsdSink and DogStatsdSink, which are alike in what is used here.
type statsdSink struct {
	Type    string  `json:"@type"`
	Address address `json:"address"`
}

// metricsServiceConfig is envoy.config.metrics.v3.MetricsServiceConfig.
type metricsServiceConfig struct {
	Type                string      `json:"@type"`
	TransportAPIVersion string      `json:"transport_api_version"`
	GRPCService         grpcService `json:"grpc_service"`
	EmitTagsAsLabels    bool        `json:"emit_tags_as_labels"`
}

func newStatsSinks(pc proxyConfig) []any {
	var sinks []any
	if s := pc.telemetry.Statsd; s.Enabled() {
		sinks = append(sinks, extension{
			Name:        "envoy.stat_sinks.statsd",
			TypedConfig: statsdSink{Type: typeURL("envoy.config.metrics.v3.StatsdSink"), Address: s.proto()},
		})
	}
	if s := pc.telemetry.Dogstatsd; s.Enabled() {
		sinks = append(sinks, extension{
			Name:        "envoy.stat_sinks.dog_statsd",
			TypedConfig: statsdSink{Type: typeURL("envoy.config.metrics.v3.DogStatsdSink"), Address: s.proto()},
		})
	}
	sinks = appendRaw(sinks, pc.extraSinks)
	if pc.collectorDir != "" {
		sinks = append(sinks, collectorSink())
	}
	return sinks
}

func (s Sink) proto() address {
	if s.Network == networkUnix {
		return unixSocket(s.Address)
	}
	// parseSink has already read this address.
	at, _ := parseAddress(s.Address)
	a := socket(at)
	a.Socket.Protocol = "UDP"
	return a
}

// collectorSink streams Envoy's metrics to Consul's telemetry collector.
func collectorSink() extension {
	return extension{
		Name: "envoy.stat_sinks.metrics_service",
		TypedConfig: metricsServiceConfig{
			Type:                typeURL("envoy.config.metrics.v3.MetricsServiceConfig"),
			TransportAPIVersion: "V3",
			GRPCService:         grpcService{EnvoyGRPC: envoyGRPC{ClusterName: ClusterTelemetryCollector}},
			EmitTagsAsLabels:    true,
		},
	}
}

// collectorSocketName is the file name under which Consul's servers configure the proxy's listener for the telemetry
// collector. They derive it in the same way: a hash, because the whole path has to fit into a socket address.
func collectorSocketName(namespace, proxyID string) string {
	sum := sha1.Sum([]byte(namespace + "_" + proxyID)) //nolint:gosec // as above, nothing is protected by it
	return base64.RawURLEncoding.EncodeToString(sum[:]) + ".sock"
}

// Bounds of Bootstrap.stats_flush_interval: it must be at least the first and less than the second.
const (
	minFlushInterval = time.Millisecond
	maxFlushInterval = 5 * time.Minute
)

// parseFlushInterval reads a duration in proto3's JSON form ("10s"), or in Go's ("1m30s"), and gives the former.
func parseFlushInterval(s string) (string, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return "", fmt.Errorf("%s is not a duration such as \"10s\"", clip(s))
	}
	if d < minFlushInterval || d >= maxFlushInterval {
		return "", fmt.Errorf("%s is not at least %s and less than %s", clip(s), minFlushInterval, maxFlushInterval)
	}
	// Nine digits are what proto3's JSON form allows.
	seconds := strconv.FormatFloat(d.Seconds(), 'f', 9, 64)
	return strings.TrimSuffix(strings.TrimRight(seconds, "0"), ".") + "s", nil
}
