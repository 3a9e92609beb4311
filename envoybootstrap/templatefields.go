// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

// templateField gives a field of a value by its name. Those of an embedded struct are also fields of the outer one.
func templateField(of any, name string) (any, bool) {
	switch v := of.(type) {
	case TemplateArgs:
		if get, ok := templateFields[name]; ok {
			return get(v), true
		}
		return templateField(v.GRPC, name)
	case GRPC:
		if get, ok := grpcFields[name]; ok {
			return get(v), true
		}
	}
	return nil, false
}

// templateFields and grpcFields spell out what reflection would find: see execution.
var templateFields = map[string]func(TemplateArgs) any{
	"GRPC":                  func(a TemplateArgs) any { return a.GRPC },
	"ProxyCluster":          func(a TemplateArgs) any { return a.ProxyCluster },
	"ProxySourceService":    func(a TemplateArgs) any { return a.ProxySourceService },
	"ProxyID":               func(a TemplateArgs) any { return a.ProxyID },
	"NodeName":              func(a TemplateArgs) any { return a.NodeName },
	"Namespace":             func(a TemplateArgs) any { return a.Namespace },
	"Partition":             func(a TemplateArgs) any { return a.Partition },
	"Datacenter":            func(a TemplateArgs) any { return a.Datacenter },
	"AdminAccessLogConfig":  func(a TemplateArgs) any { return a.AdminAccessLogConfig },
	"AdminAccessLogPath":    func(a TemplateArgs) any { return a.AdminAccessLogPath },
	"AdminBindAddress":      func(a TemplateArgs) any { return a.AdminBindAddress },
	"AdminBindPort":         func(a TemplateArgs) any { return a.AdminBindPort },
	"LocalAgentClusterName": func(a TemplateArgs) any { return a.LocalAgentClusterName },
	"Token":                 func(a TemplateArgs) any { return a.Token },
	"StaticClustersJSON":    func(a TemplateArgs) any { return a.StaticClustersJSON },
	"StaticListenersJSON":   func(a TemplateArgs) any { return a.StaticListenersJSON },
	"StaticSecretsJSON":     func(a TemplateArgs) any { return a.StaticSecretsJSON },
	"StatsSinksJSON":        func(a TemplateArgs) any { return a.StatsSinksJSON },
	"StatsConfigJSON":       func(a TemplateArgs) any { return a.StatsConfigJSON },
	"StatsFlushInterval":    func(a TemplateArgs) any { return a.StatsFlushInterval },
	"TracingConfigJSON":     func(a TemplateArgs) any { return a.TracingConfigJSON },
	"PrometheusBackendPort": func(a TemplateArgs) any { return a.PrometheusBackendPort },
	"PrometheusScrapePath":  func(a TemplateArgs) any { return a.PrometheusScrapePath },
	"PrometheusCAFile":      func(a TemplateArgs) any { return a.PrometheusCAFile },
	"PrometheusCAPath":      func(a TemplateArgs) any { return a.PrometheusCAPath },
	"PrometheusCertFile":    func(a TemplateArgs) any { return a.PrometheusCertFile },
	"PrometheusKeyFile":     func(a TemplateArgs) any { return a.PrometheusKeyFile },
	"AgentCAPEM":            func(a TemplateArgs) any { return a.AgentCAPEM },
}

var grpcFields = map[string]func(GRPC) any{
	"AgentAddress": func(g GRPC) any { return g.AgentAddress },
	"AgentPort":    func(g GRPC) any { return g.AgentPort },
	"AgentSocket":  func(g GRPC) any { return g.AgentSocket },
	"AgentTLS":     func(g GRPC) any { return g.AgentTLS },
}
