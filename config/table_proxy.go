// SPDX-License-Identifier: MPL-2.0

package config

func proxySettings() []Setting {
	return []Setting{
		{
			Flag: "proxy-id", Key: "proxy.id", Group: groupProxy,
			Help: "The service ID under which the proxy is registered. This, `-proxy-id-path` or `-service-file` is required in mode `sidecar`.",
			bind: func(c *Config) value { return text(&c.Proxy.ID) },
		}, {
			Flag: "proxy-id-path", Key: "proxy.idPath", Group: groupProxy,
			Help: "Path of a file that holds the proxy ID and nothing else, not even a final newline.",
			bind: func(c *Config) value { return text(&c.Proxy.IDPath) },
		}, {
			Flag: "proxy-node-name", Key: "proxy.nodeName", Group: groupProxy,
			Help: "The name of the Consul node on which the proxy is registered. With `-service-file` the machine's name, if unset.",
			bind: func(c *Config) value { return text(&c.Proxy.NodeName) },
		}, {
			Flag: "proxy-node-id", Key: "proxy.nodeID", Group: groupProxy,
			Help: "The ID of the Consul node on which the proxy is registered. Wins over the name.",
			bind: func(c *Config) value { return text(&c.Proxy.NodeID) },
		}, {
			Flag: "proxy-namespace", Key: "proxy.namespace", Group: groupProxy,
			Help: "The Consul namespace of the proxy. In mode `dns-proxy` only `default`.",
			bind: func(c *Config) value { return text(&c.Proxy.Namespace) },
		}, {
			Flag: "proxy-partition", Key: "proxy.partition", Group: groupProxy,
			Help: "The Consul partition of the proxy.",
			bind: func(c *Config) value { return text(&c.Proxy.Partition) },
		},
	}
}

// deprecatedSettings are the names that proxy-* had before proxies other than
// sidecars existed.
func deprecatedSettings() []Setting {
	return []Setting{
		{
			Flag: "proxy-service-id", Key: "service.serviceID", Group: groupDeprecated, DeprecatedBy: "proxy-id",
			Help: "Use `-proxy-id`.",
			bind: func(c *Config) value { return text(&c.service.ID) },
		}, {
			Flag: "proxy-service-id-path", Key: "service.serviceIDPath", Group: groupDeprecated, DeprecatedBy: "proxy-id-path",
			Help: "Use `-proxy-id-path`.",
			bind: func(c *Config) value { return text(&c.service.IDPath) },
		}, {
			Flag: "service-node-name", Key: "service.nodeName", Group: groupDeprecated, DeprecatedBy: "proxy-node-name",
			Help: "Use `-proxy-node-name`.",
			bind: func(c *Config) value { return text(&c.service.NodeName) },
		}, {
			Flag: "service-node-id", Key: "service.nodeID", Group: groupDeprecated, DeprecatedBy: "proxy-node-id",
			Help: "Use `-proxy-node-id`.",
			bind: func(c *Config) value { return text(&c.service.NodeID) },
		}, {
			Flag: "service-namespace", Key: "service.namespace", Group: groupDeprecated, DeprecatedBy: "proxy-namespace",
			Help: "Use `-proxy-namespace`.",
			bind: func(c *Config) value { return text(&c.service.Namespace) },
		}, {
			Flag: "service-partition", Key: "service.partition", Group: groupDeprecated, DeprecatedBy: "proxy-partition",
			Help: "Use `-proxy-partition`.",
			bind: func(c *Config) value { return text(&c.service.Partition) },
		},
	}
}

func xdsSettings() []Setting {
	return []Setting{
		{
			Flag: "xds-bind-addr", Key: "xdsServer.bindAddress", Group: groupXDS,
			Help: "Where Envoy gets its configuration: a loopback IP address, or `unix://` and an absolute path. " +
				"Unset: a private abstract Unix socket on which only Envoy is accepted, or 127.0.0.1 if `-xds-bind-port` is set.",
			bind: func(c *Config) value { return text(&c.XDSServer.BindAddr, optional(xdsAddress())) },
		}, {
			Flag: "xds-bind-port", Key: "xdsServer.bindPort", Default: "0", Group: groupXDS,
			Help: "The port that goes with an IP address. 0: any free port.",
			bind: func(c *Config) value { return number(&c.XDSServer.BindPort, 0, maxPort) },
		}, {
			Flag: "xds-cache", Key: "xdsServer.cache", Default: CacheMemory, Group: groupXDS,
			Help: "Where to keep the last good configuration for an Envoy that restarts while no server answers: `memory`, `off`, " +
				"or the absolute path of a folder, which then holds private keys and belongs on a tmpfs.",
			bind: func(c *Config) value { return text(&c.XDSServer.Cache, cacheMode()) },
		},
	}
}

func dnsSettings() []Setting {
	return []Setting{
		{
			Flag: "consul-dns-bind-addr", Key: "dnsServer.bindAddress", Default: "127.0.0.1", Group: groupDNS,
			Help: "The IP address of the DNS proxy. In mode `sidecar` it must be a loopback address.",
			bind: func(c *Config) value { return text(&c.DNSServer.BindAddr, ipAddress()) },
		}, {
			Flag: "consul-dns-bind-port", Key: "dnsServer.bindPort", Default: "-1", Group: groupDNS,
			Help: "The port of the DNS proxy, UDP and TCP. -1: no DNS proxy; 0: any free port.",
			bind: func(c *Config) value { return number(&c.DNSServer.BindPort, DNSDisabled, maxPort) },
		}, {
			Flag: "consul-dns-recursors", Key: "dnsServer.recursors", Group: groupDNS,
			Help: "Resolvers for names outside Consul's domain, comma separated: `IP`, `IP:PORT`, or `system` for those of /etc/resolv.conf. " +
				"Unset: Consul gets every question.",
			bind: func(c *Config) value { return list(&c.DNSServer.Recursors, recursor()) },
		}, {
			Flag: "consul-dns-cache-size", Key: "dnsServer.cacheSize", Default: "1000", Group: groupDNS,
			Help: "How many DNS answers to keep. 0: none.",
			bind: func(c *Config) value { return number(&c.DNSServer.CacheSize, 0, maxCount) },
		}, {
			Flag: "consul-dns-stale-seconds", Key: "dnsServer.staleSeconds", Default: "30", Group: groupDNS,
			Help: "For how many seconds past its TTL to use a kept answer while no server answers. 0: not at all.",
			bind: func(c *Config) value { return seconds(&c.DNSServer.Stale, 0) },
		},
	}
}
