// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The static clusters that the bootstrap may hold. They name statistics, so dashboards rely on them.
const (
	// ClusterXDS is podplane's ADS server.
	ClusterXDS = "consul-dataplane"
	// ClusterAdmin is Envoy's own admin interface, behind the ready and stats listeners.
	ClusterAdmin = "self_admin"
	// ClusterPrometheus is podplane's merged metrics, behind the Prometheus listener.
	ClusterPrometheus = "prometheus_backend"
	// ClusterTelemetryCollector is the listener that Consul configures for its telemetry collector.
	ClusterTelemetryCollector = "consul_telemetry_collector_loopback"
)

// cluster is envoy.config.cluster.v3.Cluster with a single static endpoint.
type cluster struct {
	Name           string         `json:"name"`
	Type           string         `json:"type"`
	ConnectTimeout string         `json:"connect_timeout"`
	LoadAssignment loadAssignment `json:"load_assignment"`
	Protocol       map[string]any `json:"typed_extension_protocol_options,omitempty"`
}

type loadAssignment struct {
	ClusterName string              `json:"cluster_name"`
	Endpoints   []localityEndpoints `json:"endpoints"`
}

type localityEndpoints struct {
	LBEndpoints []lbEndpoint `json:"lb_endpoints"`
}

type lbEndpoint struct {
	Endpoint endpoint `json:"endpoint"`
}

type endpoint struct {
	Address address `json:"address"`
}

// httpProtocolOptions is envoy.extensions.upstreams.http.v3.HttpProtocolOptions that fixes HTTP/2.
type httpProtocolOptions struct {
	Type     string `json:"@type"`
	Explicit struct {
		HTTP2 empty `json:"http2_protocol_options"`
	} `json:"explicit_http_config"`
}

// Connect timeouts. Everything is in the pod: whoever does not answer at once is not there.
const (
	xdsConnectTimeout   = "1s"
	otherConnectTimeout = "5s"
)

func newCluster(name string, at address) cluster {
	return cluster{
		Name:           name,
		Type:           "STATIC",
		ConnectTimeout: otherConnectTimeout,
		LoadAssignment: loadAssignment{
			ClusterName: name,
			Endpoints:   []localityEndpoints{{LBEndpoints: []lbEndpoint{{Endpoint: endpoint{Address: at}}}}},
		},
	}
}

// http2 gives the cluster prior-knowledge HTTP/2, which gRPC needs.
func (c cluster) http2() cluster {
	const message = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	c.Protocol = map[string]any{message: httpProtocolOptions{Type: typeURL(message)}}
	return c
}

// clusters are ours and the operator's.
type clusters struct {
	own   []cluster
	extra []json.RawMessage
}

// newClusters lists the clusters that the listeners and sinks in use point to.
func newClusters(cfg Config, p Params, pc proxyConfig, used staticListeners) clusters {
	// A bad address is reported by Config.check, and then nothing of this is used.
	at, _ := xdsAddress(cfg.XDS.Address)
	xds := newCluster(ClusterXDS, at).http2()
	xds.ConnectTimeout = xdsConnectTimeout
	cs := clusters{own: []cluster{xds}, extra: pc.extraClusters}
	if used.routeTo(ClusterAdmin) && !cs.operatorHas(ClusterAdmin) {
		cs.own = append(cs.own, newCluster(ClusterAdmin, socket(cfg.Admin.dialable())))
	}
	if used.routeTo(ClusterPrometheus) && !cs.operatorHas(ClusterPrometheus) {
		cs.own = append(cs.own, newCluster(ClusterPrometheus, socket(cfg.Prometheus.Merge.dialable())))
	}
	if pc.collectorDir != "" {
		path := collectorSocket(pc.collectorDir, p.namespace(), cfg.ProxyID)
		cs.own = append(cs.own, newCluster(ClusterTelemetryCollector, unixSocket(path)).http2())
	}
	return cs
}

// operatorHas reports whether an operator's fragment defines the cluster. Existing configurations define self_admin by
// hand, for listeners of their own; Envoy refuses two static clusters of one name, so theirs is used.
func (cs clusters) operatorHas(name string) bool {
	for _, raw := range cs.extra {
		if nameOf(raw) == name {
			return true
		}
	}
	return false
}

func (cs clusters) all() []any {
	all := make([]any, 0, len(cs.own)+len(cs.extra))
	for _, c := range cs.own {
		all = append(all, c)
	}
	return appendRaw(all, cs.extra)
}

// check finds two clusters of one name, at which Envoy would end.
func (cs clusters) check() error {
	seen := make(map[string]bool)
	for _, c := range cs.own {
		seen[c.Name] = true
	}
	return uniqueNames(keyExtraClusters, "cluster", cs.extra, seen)
}

// uniqueNames checks the names of an operator's fragments against each other and those in seen.
func uniqueNames(key, kind string, fragments []json.RawMessage, seen map[string]bool) error {
	var errs []error
	for _, raw := range fragments {
		name := nameOf(raw)
		if name != "" && seen[name] {
			errs = append(errs, keyError(key, fmt.Errorf("%s %s exists already", kind, clip(name))))
		}
		seen[name] = true
	}
	return errors.Join(errs...)
}

// nameOf is the "name" of an operator's fragment, empty if there is none that is a string.
func nameOf(raw json.RawMessage) string {
	var named struct{ Name any }
	if json.Unmarshal(raw, &named) != nil {
		return ""
	}
	name, _ := named.Name.(string)
	return name
}

func appendRaw(list []any, fragments []json.RawMessage) []any {
	for _, f := range fragments {
		list = append(list, f)
	}
	return list
}
