// SPDX-License-Identifier: MPL-2.0

package config

func registrationSettings() []Setting {
	return []Setting{
		{
			Flag: "service-file", Key: "registration.serviceFile", Group: groupRegister,
			Help: "Path of a JSON or HCL file with one Consul service definition that has `connect.sidecar_service`. podplane registers " +
				"both, keeps their health true and deregisters them at the end; the proxy ID follows. For machines without orchestrator and agent.",
			bind: func(c *Config) value { return text(&c.Registration.ServiceFile) },
		}, {
			Flag: "consul-http-port", Key: "registration.httpPort", Default: "0", Group: groupRegister,
			Help: "The port of the servers' HTTP API, to register there. 0: 8501 with TLS, 8500 without.",
			bind: func(c *Config) value { return number(&c.Registration.HTTPPort, 0, maxPort) },
		}, {
			Flag: "consul-http-tls-disabled", Key: "registration.httpTLSDisabled", Default: "false", Group: groupRegister,
			Help: "Talk to the HTTP API in plain text, the ACL token included. With `-tls-disabled` it always is.",
			bind: func(c *Config) value { return boolean(&c.Registration.HTTPTLSDisabled) },
		},
	}
}
