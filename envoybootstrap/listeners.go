// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"fmt"
)

// Names and statistics prefixes of the static listeners. Their HTTP statistics are `http.<prefix>.…`.
const (
	ListenerPrometheus   = "envoy_prometheus_metrics_listener"
	StatPrefixPrometheus = "envoy_prometheus_metrics"
	ListenerStats        = "envoy_metrics_listener"
	StatPrefixStats      = "envoy_metrics"
	ListenerReady        = "envoy_ready_listener"
	StatPrefixReady      = "envoy_ready"
)

// statPrefixCollector begins the statistics prefix that Consul gives to the listener of the telemetry collector, see
// collectorSocket. The rest of it is namespace, partition and datacenter.
const statPrefixCollector = "upstream.consul-telemetry-collector."

// ObserverStatPrefixes are the statistics prefixes of HTTP listeners that serve observers of the pod, Envoy's own stream
// of metrics among them, which never ends. Their traffic is not the application's: it must not keep a pod from being
// idle. One that ends in a dot stands for all that begin with it.
func ObserverStatPrefixes() []string {
	return []string{StatPrefixPrometheus, StatPrefixStats, StatPrefixReady, statPrefixCollector}
}

// staticListener is one path, or all paths below one, of a cluster; everything else is answered 404.
type staticListener struct {
	name, statPrefix string
	bind             Address
	match            routeMatch
	rewrite          string
	cluster          string
	tls              *extension
}

type staticListeners []staticListener

func newStaticListeners(cfg Config, pc proxyConfig) staticListeners {
	var ls staticListeners
	if pc.hasPrometheus() {
		ls = append(ls, prometheusListener(cfg.Prometheus, *pc.prometheusBind))
	}
	if pc.statsBind != nil {
		ls = append(ls, staticListener{
			name: ListenerStats, statPrefix: StatPrefixStats, bind: *pc.statsBind,
			match: routeMatch{Prefix: "/stats"}, rewrite: "/stats", cluster: ClusterAdmin,
		})
	}
	if cfg.hasReadyListener() {
		ls = append(ls, staticListener{
			name: ListenerReady, statPrefix: StatPrefixReady, bind: cfg.Ready,
			match: routeMatch{Path: "/ready"}, rewrite: "/ready", cluster: ClusterAdmin,
		})
	}
	return ls
}

func prometheusListener(p Prometheus, bind Address) staticListener {
	l := staticListener{
		name: ListenerPrometheus, statPrefix: StatPrefixPrometheus, bind: bind,
		match: routeMatch{Path: p.ScrapePath}, rewrite: "/stats/prometheus", cluster: ClusterPrometheus,
	}
	if p.Merge.Port == 0 {
		l.cluster = ClusterAdmin
	}
	if p.tls() {
		l.tls = prometheusTLS()
	}
	return l
}

// routeTo reports whether a listener needs the cluster.
func (ls staticListeners) routeTo(cluster string) bool {
	for _, l := range ls {
		if l.cluster == cluster {
			return true
		}
	}
	return false
}

func (ls staticListeners) all(extra []json.RawMessage) []any {
	var all []any
	for _, l := range ls {
		all = append(all, l.proto())
	}
	return appendRaw(all, extra)
}

// check finds two listeners of one name, of which Envoy would drop the second in silence, and two of ours at one port.
func (ls staticListeners) check(extra []json.RawMessage) error {
	seen := make(map[string]bool)
	bound := make(map[Address]string)
	for _, l := range ls {
		seen[l.name] = true
		if other := bound[l.bind]; other != "" && l.bind.Port != 0 {
			return fmt.Errorf("%s and %s have the same address", other, l.name)
		}
		bound[l.bind] = l.name
	}
	return uniqueNames(keyExtraListeners, "listener", extra, seen)
}
