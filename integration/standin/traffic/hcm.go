// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"podplane/integration/standin/stats"
)

// hcm is envoy.filters.network.http_connection_manager: the configuration of HTTP on one filter chain. Connections are
// served in httpserve.go, requests in exchange.go.
type hcm struct {
	proto   *hcmv3.HttpConnectionManager
	engine  *Engine
	shared  *shared
	scope   *stats.Scope // http.<stat_prefix>.
	log     accessLog
	filters []httpFilter
	blocked string // a filter that Envoy would run and this cannot; no traffic passes then

	rds    *hcmv3.Rds
	routes *atomic.Pointer[routeTable]

	serverName string
	upgrades   map[string]bool
	streamIdle time.Duration // zero: none
	request    time.Duration // limit for the whole request to arrive; zero: none

	server httpServer
}

func newHCM(p *hcmv3.HttpConnectionManager, sh *shared) (*hcm, error) {
	e := sh.engine
	h := &hcm{
		proto: p, engine: e, shared: sh, serverName: p.GetServerName(), upgrades: map[string]bool{},
		streamIdle: duration(p.GetStreamIdleTimeout(), 5*time.Minute), request: duration(p.GetRequestTimeout(), 0),
	}
	if h.serverName == "" {
		h.serverName = "envoy"
	}
	for _, u := range p.GetUpgradeConfigs() {
		h.upgrades[strings.ToLower(u.GetUpgradeType())] = u.GetEnabled() == nil || u.GetEnabled().GetValue()
	}
	if err := h.readRoutes(); err != nil {
		return nil, err
	}
	var err error
	if h.log, err = newAccessLog(p.GetAccessLog(), e.sinks); err != nil {
		return nil, err
	}
	h.scope = e.stats.Scope("http." + p.GetStatPrefix() + ".")
	if err := h.readFilters(); err != nil {
		h.scope.Close()
		return nil, err
	}
	h.declareStats()
	h.server.init(h)
	return h, nil
}

// readRoutes takes inline routes, or the place where those of RDS will be.
func (h *hcm) readRoutes() error {
	switch r := h.proto.GetRouteSpecifier().(type) {
	case *hcmv3.HttpConnectionManager_RouteConfig:
		table, err := newRouteTable(r.RouteConfig)
		if err != nil {
			return err
		}
		h.routes = &atomic.Pointer[routeTable]{}
		h.routes.Store(table)
		return nil
	case *hcmv3.HttpConnectionManager_Rds:
		h.rds = r.Rds
		h.routes = h.engine.routes.entry(r.Rds.GetRouteConfigName())
		return nil
	default:
		return fmt.Errorf("route specifier %T is not supported", r)
	}
}

func (h *hcm) readFilters() error {
	filters := h.proto.GetHttpFilters()
	for i, f := range filters {
		if f.GetDisabled() {
			continue
		}
		ends, err := h.addFilter(f)
		if err != nil {
			return err
		}
		if ends != (i == len(filters)-1) {
			if ends {
				return envoyError("Error: terminal filter named %s of type %s must be the last filter in a http filter chain.", f.GetName(), f.GetName())
			}
			return envoyError("Error: non-terminal filter named %s of type %s is the last filter in a http filter chain.", f.GetName(), f.GetName())
		}
	}
	return nil
}

func (h *hcm) declareStats() {
	for _, name := range []string{
		"downstream_cx_total", "downstream_cx_http1_total", "downstream_cx_http2_total", "downstream_cx_ssl_total",
		"downstream_cx_destroy", "downstream_cx_drain_close", "downstream_cx_rx_bytes_total", "downstream_cx_tx_bytes_total",
		"downstream_rq_total", "downstream_rq_http1_total", "downstream_rq_http2_total", "downstream_rq_completed",
		"downstream_rq_1xx", "downstream_rq_2xx", "downstream_rq_3xx", "downstream_rq_4xx", "downstream_rq_5xx",
		"downstream_rq_timeout", "downstream_rq_idle_timeout", "downstream_rq_ws_on_non_ws_route", "no_route", "no_cluster",
		"rq_direct_response", "rq_redirect", "rq_total",
	} {
		h.scope.Counter(name)
	}
	for _, name := range []string{
		"downstream_cx_active", "downstream_cx_http1_active", "downstream_cx_http2_active", "downstream_cx_ssl_active",
		"downstream_rq_active", "downstream_cx_upgrades_active",
	} {
		h.scope.Gauge(name)
	}
}

func (h *hcm) rdsNames() []string {
	if h.rds == nil {
		return nil
	}
	return []string{h.rds.GetRouteConfigName()}
}

// leaving says whether responses on a connection should tell the client to go.
func (h *hcm) leaving(d *downstream) bool {
	return d.chain.draining.Load() || h.engine.drain.leaving(h.shared.inbound)
}

func (h *hcm) leave(closeIdle bool) {
	if closeIdle {
		h.server.closeIdle()
	}
}

func (h *hcm) close() {
	h.server.close()
	for _, f := range h.filters {
		f.close()
	}
	h.scope.Close()
}

// serverHeader sets the response's server header as configured.
func (h *hcm) serverHeader(header http.Header, local bool) {
	switch h.proto.GetServerHeaderTransformation() {
	case hcmv3.HttpConnectionManager_PASS_THROUGH:
		if !local {
			return
		}
	case hcmv3.HttpConnectionManager_APPEND_IF_ABSENT:
		if header.Get("Server") != "" {
			return
		}
	}
	header.Set("Server", h.serverName)
}
