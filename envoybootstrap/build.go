// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
)

// bootstrap is envoy.config.bootstrap.v3.Bootstrap, as far as podplane sets it.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
type bootstrap struct {
	Node               node             `json:"node"`
	Admin              admin            `json:"admin"`
	LayeredRuntime     layeredRuntime   `json:"layered_runtime"`
	DynamicResources   dynamicResources `json:"dynamic_resources"`
	StaticResources    staticResources  `json:"static_resources"`
	StatsSinks         []any            `json:"stats_sinks,omitempty"`
	StatsConfig        any              `json:"stats_config"`
	StatsFlushInterval string           `json:"stats_flush_interval,omitempty"`
	Tracing            json.RawMessage  `json:"tracing,omitempty"`
}

// staticResources holds our own typed elements beside operators' [json.RawMessage], hence the lists of any.
type staticResources struct {
	Clusters  []any    `json:"clusters"`
	Listeners []any    `json:"listeners,omitempty"`
	Secrets   []secret `json:"secrets,omitempty"`
}

// Build renders Envoy's bootstrap as one JSON object.
//
// It fails when cfg is incomplete, when a proxy-config key holds what cannot be used, when a server's access log is not
// a JSON object, and when envoy_bootstrap_json_tpl does not yield a JSON object. The error tells every problem that was
// found, one a line, and names the key of each.
func Build(cfg Config, p Params) ([]byte, error) {
	cfg = cfg.withDefaults()
	pc, keyErr := readProxyConfig(cfg, p)
	adm, adminErr := newAdmin(cfg.Admin, p.AccessLogs)
	static, staticErr := newStaticResources(cfg, p, pc)
	if err := errors.Join(cfg.check(), keyErr, adminErr, staticErr); err != nil {
		return nil, fmt.Errorf("build envoy bootstrap: %w", err)
	}
	b := bootstrap{
		Node:               newNode(cfg.ProxyID, p),
		Admin:              adm,
		LayeredRuntime:     newLayeredRuntime(),
		DynamicResources:   newDynamicResources(cfg.XDS.Secret),
		StaticResources:    static,
		StatsSinks:         newStatsSinks(pc),
		StatsConfig:        newStatsConfig(p, pc),
		StatsFlushInterval: pc.statsFlushInterval,
		Tracing:            pc.tracing,
	}
	out, err := b.render(cfg, p, pc.template)
	if err != nil {
		return nil, fmt.Errorf("build envoy bootstrap: %w", err)
	}
	return out, nil
}

// render gives the bootstrap itself, or what the operator's template makes of it.
func (b bootstrap) render(cfg Config, p Params, tpl string) ([]byte, error) {
	if tpl == "" {
		return json.Marshal(b)
	}
	args, err := newTemplateArgs(b, cfg, p)
	if err != nil {
		return nil, err
	}
	return renderTemplate(tpl, args)
}

// newStaticResources joins operators' static resources with ours.
func newStaticResources(cfg Config, p Params, pc proxyConfig) (staticResources, error) {
	listeners := newStaticListeners(cfg, pc)
	clusters := newClusters(cfg, p, pc, listeners)
	return staticResources{
			Clusters:  clusters.all(),
			Listeners: listeners.all(pc.extraListeners),
			Secrets:   newSecrets(cfg.Prometheus, pc),
		}, errors.Join(
			clusters.check(),
			listeners.check(pc.extraListeners),
		)
}
