// SPDX-License-Identifier: MPL-2.0

package bootstrap

// The types that a bootstrap may carry inside an Any. Envoy has them all linked
// in; here the ones are named that Consul, its documentation or podplane write.
// One that is missing is refused by its name, as Envoy refuses an unknown type.
import (
	_ "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"                           // stats sinks
	_ "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"                             // tracers
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"           // admin access log
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"           // telemetry collector
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/open_telemetry/v3" // access logs
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"         // access logs
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"            // failover
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"           // static listeners
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/stat_sinks/graphite_statsd/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/stat_sinks/open_telemetry/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/tracers/opentelemetry/samplers/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
)
