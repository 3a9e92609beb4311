// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"podplane/integration/standin/traffic"
)

// clusters lists the active clusters with their endpoints; those that still
// warm are not shown.
func (s *Server) clusters(w http.ResponseWriter, r *http.Request) {
	var active []traffic.ClusterStatus
	for _, c := range s.cfg.Traffic.Clusters() {
		if !c.Warming {
			active = append(active, c)
		}
	}
	if r.URL.Query().Get("format") == "json" {
		answer := &adminv3.Clusters{}
		for _, c := range active {
			answer.ClusterStatuses = append(answer.ClusterStatuses, s.clusterProto(c))
		}
		sendProto(w, answer, false)
		return
	}
	var b strings.Builder
	for _, c := range active {
		s.clusterText(&b, c)
	}
	write(w, b.String())
}

// defaultThreshold is what the circuit breakers of the high priority have.
const defaultThreshold, defaultRetries = 1024, 3

func (s *Server) clusterProto(c traffic.ClusterStatus) *adminv3.ClusterStatus {
	u32 := func(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }
	status := &adminv3.ClusterStatus{
		Name: c.Name, AddedViaApi: s.cfg.ViaAPI(c.Name), EdsServiceName: c.EDSServiceName, ObservabilityName: c.StatName,
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
			{
				Priority: corev3.RoutingPriority_DEFAULT, MaxConnections: u32(c.MaxConnections),
				MaxPendingRequests: u32(c.MaxPendingRequests), MaxRequests: u32(c.MaxRequests), MaxRetries: u32(c.MaxRetries),
			},
			{
				Priority: corev3.RoutingPriority_HIGH, MaxConnections: u32(defaultThreshold),
				MaxPendingRequests: u32(defaultThreshold), MaxRequests: u32(defaultThreshold), MaxRetries: u32(defaultRetries),
			},
		}},
	}
	for _, e := range c.Endpoints {
		host := &adminv3.HostStatus{
			Address: address(e.Address), Hostname: e.Hostname, Weight: e.Weight, Priority: e.Priority,
			HealthStatus: &adminv3.HostHealthStatus{EdsHealthStatus: e.Health, FailedOutlierCheck: e.Ejected},
		}
		if e.Health == corev3.HealthStatus_UNKNOWN {
			host.HealthStatus.EdsHealthStatus = corev3.HealthStatus_HEALTHY
		}
		for _, m := range metrics(e) {
			kind := adminv3.SimpleMetric_COUNTER
			if m.gauge {
				kind = adminv3.SimpleMetric_GAUGE
			}
			host.Stats = append(host.Stats, &adminv3.SimpleMetric{Name: m.name, Value: m.value, Type: kind})
		}
		status.HostStatuses = append(status.HostStatuses, host)
	}
	return status
}

func (s *Server) clusterText(b *strings.Builder, c traffic.ClusterStatus) {
	line := func(format string, args ...any) { fmt.Fprintf(b, c.Name+"::"+format+"\n", args...) }
	line("observability_name::%s", c.StatName)
	for _, p := range []struct {
		name                       string
		cx, pending, requests, try uint32
	}{
		{"default", c.MaxConnections, c.MaxPendingRequests, c.MaxRequests, c.MaxRetries},
		{"high", defaultThreshold, defaultThreshold, defaultThreshold, defaultRetries},
	} {
		line("%s_priority::max_connections::%d", p.name, p.cx)
		line("%s_priority::max_pending_requests::%d", p.name, p.pending)
		line("%s_priority::max_requests::%d", p.name, p.requests)
		line("%s_priority::max_retries::%d", p.name, p.try)
	}
	line("added_via_api::%t", s.cfg.ViaAPI(c.Name))
	if c.EDSServiceName != "" {
		line("eds_service_name::%s", c.EDSServiceName)
	}
	for _, e := range c.Endpoints {
		for _, m := range metrics(e) {
			line("%s::%s::%d", e.Address, m.name, m.value)
		}
		line("%s::hostname::%s", e.Address, e.Hostname)
		line("%s::health_flags::%s", e.Address, healthFlags(e))
		line("%s::weight::%d", e.Address, e.Weight)
		for _, name := range []string{"region", "zone", "sub_zone"} {
			line("%s::%s::", e.Address, name)
		}
		line("%s::canary::false", e.Address)
		line("%s::priority::%d", e.Address, e.Priority)
		line("%s::success_rate::-1", e.Address)
		line("%s::local_origin_success_rate::-1", e.Address)
	}
}

type metric struct {
	name  string
	value uint64
	gauge bool
}

// metrics are an endpoint's own counters and gauges, in the order of their names.
func metrics(e traffic.EndpointStatus) []metric {
	return []metric{
		{"cx_active", e.CxActive, true}, {"cx_connect_fail", e.CxConnectFail, false}, {"cx_total", e.CxTotal, false},
		{"rq_active", e.RqActive, true}, {"rq_error", e.RqError, false}, {"rq_success", e.RqSuccess, false},
		{"rq_timeout", e.RqTimeout, false}, {"rq_total", e.RqTotal, false},
	}
}

// healthFlags are Envoy's, as far as the data path has the cause.
func healthFlags(e traffic.EndpointStatus) string {
	flags := ""
	if e.Ejected {
		flags += "/failed_outlier_check"
	}
	switch e.Health {
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_DRAINING, corev3.HealthStatus_TIMEOUT:
		flags += "/failed_eds_health"
	case corev3.HealthStatus_DEGRADED:
		flags += "/degraded_eds_health"
	case corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY:
	}
	if flags == "" {
		return "healthy"
	}
	return flags
}

// address turns "host:port", or a path, into Envoy's proto.
func address(text string) *corev3.Address {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: text}}}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: text}}}
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}
