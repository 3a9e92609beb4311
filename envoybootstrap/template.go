// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// TemplateArgs are the fields that a template in envoy_bootstrap_json_tpl can use, by Consul's names and meaning. Texts
// whose name ends in JSON are JSON: a list of objects with commas between them, or one object; empty if there are none.
// The others are plain and not escaped for JSON: a template quotes them with {{ printf "%q" … }} or trusts them.
// https://developer.hashicorp.com/consul/docs/reference/proxy/envoy#envoy_bootstrap_json_tpl
type TemplateArgs struct {
	GRPC

	// ProxyCluster and ProxySourceService are the service that the proxy stands for.
	ProxyCluster, ProxySourceService string
	// ProxyID is for node.id.
	ProxyID string
	// NodeName is the catalog node of the proxy.
	NodeName string
	// Namespace, Partition and Datacenter are those of the proxy, as Consul's server reports them.
	Namespace, Partition, Datacenter string

	// AdminAccessLogConfig are access loggers as JSON objects. It is empty if Consul asks for none.
	AdminAccessLogConfig []string
	// AdminAccessLogPath is where the admin interface logs if AdminAccessLogConfig is empty.
	AdminAccessLogPath string
	// AdminBindAddress and AdminBindPort are where the admin interface listens.
	AdminBindAddress, AdminBindPort string

	// LocalAgentClusterName is the cluster for the ADS stream.
	LocalAgentClusterName string
	// Token belongs into the ADS stream's initial_metadata as x-consul-token. It is no ACL token, which Envoy never
	// sees: it is the secret that lets Envoy open the stream, empty over Unix sockets.
	Token string

	// StaticClustersJSON are all clusters but that of the ADS stream.
	StaticClustersJSON string
	// StaticListenersJSON are all static listeners.
	StaticListenersJSON string
	// StaticSecretsJSON are the secrets that the listeners use.
	StaticSecretsJSON string
	// StatsSinksJSON are all sinks.
	StatsSinksJSON string
	// StatsConfigJSON is one object.
	StatsConfigJSON string
	// StatsFlushInterval is a duration in proto3's JSON form.
	StatsFlushInterval string
	// TracingConfigJSON is one object.
	TracingConfigJSON string

	// PrometheusBackendPort is the port of the merged metrics, empty if scrapes go to the admin interface.
	PrometheusBackendPort string
	// PrometheusScrapePath is the path that is scraped.
	PrometheusScrapePath string
	// PrometheusCAFile, PrometheusCAPath, PrometheusCertFile and PrometheusKeyFile are paths for the listener's TLS.
	PrometheusCAFile, PrometheusCAPath, PrometheusCertFile, PrometheusKeyFile string

	// AgentCAPEM is always empty: the ADS stream does not leave the pod.
	AgentCAPEM string
}

// GRPC is the part of [TemplateArgs] that says where the ADS server is.
type GRPC struct {
	// AgentAddress and AgentPort are set if it listens on TCP.
	AgentAddress, AgentPort string
	// AgentSocket is set if it listens on a Unix socket, and then has precedence.
	AgentSocket string
	// AgentTLS is always false.
	AgentTLS bool
}

// newTemplateArgs breaks the bootstrap that we would have made into the pieces that templates expect.
func newTemplateArgs(b bootstrap, cfg Config, p Params) (TemplateArgs, error) {
	args := TemplateArgs{
		GRPC:                  newTemplateGRPC(cfg.XDS),
		ProxyCluster:          p.source(),
		ProxySourceService:    p.source(),
		ProxyID:               cfg.ProxyID,
		NodeName:              p.NodeName,
		Namespace:             p.Namespace,
		Partition:             p.Partition,
		Datacenter:            p.Datacenter,
		AdminAccessLogConfig:  p.AccessLogs,
		AdminAccessLogPath:    devNull,
		AdminBindAddress:      cfg.Admin.Host,
		AdminBindPort:         strconv.Itoa(cfg.Admin.Port),
		LocalAgentClusterName: ClusterXDS,
		Token:                 cfg.XDS.Secret,
		StatsFlushInterval:    b.StatsFlushInterval,
		TracingConfigJSON:     string(b.Tracing),
		PrometheusScrapePath:  cfg.Prometheus.ScrapePath,
		PrometheusCAFile:      cfg.Prometheus.CAFile,
		PrometheusCAPath:      cfg.Prometheus.CADir,
		PrometheusCertFile:    cfg.Prometheus.CertFile,
		PrometheusKeyFile:     cfg.Prometheus.KeyFile,
	}
	if port := cfg.Prometheus.Merge.Port; port != 0 {
		args.PrometheusBackendPort = strconv.Itoa(port)
	}
	return args, args.encode(b)
}

func newTemplateGRPC(x XDS) GRPC {
	if isSocketPath(x.Address) {
		return GRPC{AgentSocket: x.Address}
	}
	// Config.check has already read this address.
	at, _ := parseAddress(x.Address)
	return GRPC{AgentAddress: at.Host, AgentPort: strconv.Itoa(at.Port)}
}

// encode fills the fields that hold JSON.
func (a *TemplateArgs) encode(b bootstrap) error {
	for _, f := range []struct {
		to   *string
		from any
	}{
		// The first cluster is that of the ADS stream, which templates write out themselves.
		{&a.StaticClustersJSON, b.StaticResources.Clusters[1:]},
		{&a.StaticListenersJSON, b.StaticResources.Listeners},
		{&a.StaticSecretsJSON, b.StaticResources.Secrets},
		{&a.StatsSinksJSON, b.StatsSinks},
		{&a.StatsConfigJSON, b.StatsConfig},
	} {
		text, err := json.Marshal(f.from)
		if err != nil {
			return err
		}
		*f.to = withoutBrackets(string(text))
	}
	return nil
}

// withoutBrackets turns a JSON array into its elements with commas between them, and null into nothing.
func withoutBrackets(text string) string {
	if text == "null" {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
}

// renderTemplate gives what the operator's template makes of the arguments: one JSON object, or an error that names
// the key. A field that does not exist is an error, as text/template has it for structs.
func renderTemplate(text string, args TemplateArgs) ([]byte, error) {
	out, err := executeTemplate(text, args)
	if err != nil {
		return nil, keyError(keyTemplate, err)
	}
	object, err := parseObject(out)
	if err != nil {
		return nil, keyError(keyTemplate, fmt.Errorf("output %w", err))
	}
	return object, nil
}
