// SPDX-License-Identifier: MPL-2.0

package config

const maxPort = 65535

func generalSettings() []Setting {
	return []Setting{
		{
			Flag: "mode", Key: "mode", Default: string(ModeSidecar), Group: groupGeneral,
			Help: "What to be: `sidecar` runs Envoy for one proxy, `dns-proxy` serves Consul DNS only.",
			bind: func(c *Config) value { return text(&c.Mode, oneOf(string(ModeSidecar), string(ModeDNSProxy))) },
		}, {
			Flag: "config-file", Env: noEnv, Group: groupGeneral,
			Help: "Path of a JSON file with settings. Its name must end in `.json`.",
			bind: func(c *Config) value { return text(&c.ConfigFile) },
		}, {
			Flag: "log-level", Key: "logging.logLevel", Default: "info", Group: groupGeneral,
			Help: "How much podplane and Envoy log: `trace`, `debug`, `info`, `warn`, `error` or `off`.",
			bind: func(c *Config) value {
				return foldedText(&c.Logging.Level, oneOf("trace", "debug", "info", "warn", "error", "off"))
			},
		}, {
			Flag: "log-json", Key: "logging.logJSON", Default: "false", Group: groupGeneral,
			Help: "Log in JSON, podplane and Envoy alike.",
			bind: func(c *Config) value { return boolean(&c.Logging.JSON) },
		}, {
			Flag: "version", Env: noEnv, Default: "false", Group: groupGeneral,
			Help: "Print the version and exit.",
			bind: func(c *Config) value { return boolean(&c.Version) },
		}, {
			Flag: "check-proxy-health", Env: noEnv, Default: "false", Group: groupGeneral,
			Help: "Ask Envoy's admin interface whether it is ready, and exit with 0 or 1. For probes.",
			bind: func(c *Config) value { return boolean(&c.CheckProxyHealth) },
		}, {
			Flag: "help", Env: noEnv, Default: "false", Group: groupGeneral,
			Help: "Print this help and exit.",
			bind: func(c *Config) value { return boolean(&c.Help) },
		}, {
			Flag: "h", Env: noEnv, Default: "false", Group: groupGeneral, AliasOf: "help",
			Help: "Short for `-help`.",
			bind: func(c *Config) value { return boolean(&c.Help) },
		},
	}
}

func consulSettings() []Setting {
	return []Setting{
		{
			Flag: "addresses", Env: "DP_CONSUL_ADDRESSES", Key: "consul.addresses", Group: groupConsul,
			Help: "Where the Consul servers are: an IP address, a DNS name, or `exec=` and a command that prints addresses. Required.",
			bind: func(c *Config) value { return text(&c.Consul.Addresses, serverAddresses()) },
		}, {
			Flag: "grpc-port", Env: "DP_CONSUL_GRPC_PORT", Key: "consul.grpcPort", Default: "8502", Group: groupConsul,
			Help: "The gRPC port of every server.",
			bind: func(c *Config) value { return number(&c.Consul.GRPCPort, 1, maxPort) },
		}, {
			Flag: "server-watch-disabled", Key: "consul.serverWatchDisabled", Default: "false", Group: groupConsul,
			Help: "Do not follow the servers' own list of servers. For servers behind a load balancer.",
			bind: func(c *Config) value { return boolean(&c.Consul.ServerWatchDisabled) },
		},
	}
}

func tlsSettings() []Setting {
	return []Setting{
		{
			Flag: "tls-disabled", Key: "consul.tls.disabled", Default: "false", Group: groupTLS,
			Help: "Talk to the servers in plain text.",
			bind: func(c *Config) value { return boolean(&c.Consul.TLS.Disabled) },
		}, {
			Flag: "tls-insecure-skip-verify", Key: "consul.tls.insecureSkipVerify", Default: "false", Group: groupTLS,
			Help: "Do not verify the servers' certificates. Not for production.",
			bind: func(c *Config) value { return boolean(&c.Consul.TLS.InsecureSkipVerify) },
		}, {
			Flag: "ca-certs", Key: "consul.tls.caCertsPath", Group: groupTLS,
			Help: "Path of a PEM file, or of a folder of them, with the CAs of the servers. Unset: the system's CAs.",
			bind: func(c *Config) value { return text(&c.Consul.TLS.CACertsPath) },
		}, {
			Flag: "tls-cert", Key: "consul.tls.certFile", Group: groupTLS,
			Help: "Path of the PEM file with the client certificate. Needs `-tls-key`.",
			bind: func(c *Config) value { return text(&c.Consul.TLS.CertFile) },
		}, {
			Flag: "tls-key", Key: "consul.tls.keyFile", Group: groupTLS,
			Help: "Path of the PEM file with the client certificate's private key. Needs `-tls-cert`.",
			bind: func(c *Config) value { return text(&c.Consul.TLS.KeyFile) },
		}, {
			Flag: "tls-server-name", Key: "consul.tls.serverName", Group: groupTLS,
			Help: "The name to expect in the servers' certificates. Unset: the DNS name in `-addresses`.",
			bind: func(c *Config) value { return text(&c.Consul.TLS.ServerName) },
		},
	}
}

func credentialSettings() []Setting {
	return []Setting{
		{
			Flag: "credential-type", Key: "consul.credentials.type", Group: groupLogin,
			Help: "Where the ACL token comes from: `static` or `login`. Unset: no token.",
			bind: func(c *Config) value {
				return text(&c.Consul.Credentials.Type, optional(oneOf(string(CredentialStatic), string(CredentialLogin))))
			},
		}, {
			Flag: "static-token", Env: "DP_CREDENTIAL_STATIC_TOKEN", Key: "consul.credentials.static.token", Group: groupLogin,
			Help: "The ACL token, for type `static`. Prefer the variable or `-static-token-path`: everyone on the machine can read a command line.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Static.Token) },
		}, {
			Flag: "static-token-path", Env: "DP_CREDENTIAL_STATIC_TOKEN_PATH", Key: "consul.credentials.static.tokenPath", Group: groupLogin,
			Help: "Path of a file with the ACL token, for type `static`, instead of `-static-token`.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Static.TokenPath) },
		}, {
			Flag: "login-auth-method", Env: "DP_CREDENTIAL_LOGIN_AUTH_METHOD", Key: "consul.credentials.login.authMethod", Group: groupLogin,
			Help: "The auth method to log in to, for type `login`.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Login.AuthMethod) },
		}, {
			Flag: "login-namespace", Env: "DP_CREDENTIAL_LOGIN_NAMESPACE", Key: "consul.credentials.login.namespace", Group: groupLogin,
			Help: "The namespace of the auth method.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Login.Namespace) },
		}, {
			Flag: "login-partition", Env: "DP_CREDENTIAL_LOGIN_PARTITION", Key: "consul.credentials.login.partition", Group: groupLogin,
			Help: "The partition of the auth method.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Login.Partition) },
		}, {
			Flag: "login-datacenter", Env: "DP_CREDENTIAL_LOGIN_DATACENTER", Key: "consul.credentials.login.datacenter", Group: groupLogin,
			Help: "The datacenter of the auth method.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Login.Datacenter) },
		}, {
			Flag: "login-bearer-token", Env: "DP_CREDENTIAL_LOGIN_BEARER_TOKEN", Key: "consul.credentials.login.bearerToken", Group: groupLogin,
			Help: "The bearer token to log in with. Wins over `-login-bearer-token-path`.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Login.BearerToken) },
		}, {
			Flag: "login-bearer-token-path", Env: "DP_CREDENTIAL_LOGIN_BEARER_TOKEN_PATH", Key: "consul.credentials.login.bearerTokenPath", Group: groupLogin,
			Help: "Path of a file with the bearer token, such as a Kubernetes service account token.",
			bind: func(c *Config) value { return text(&c.Consul.Credentials.Login.BearerTokenPath) },
		}, {
			Flag: "login-meta", Env: "DP_CREDENTIAL_LOGIN_META", Numbered: true, Key: "consul.credentials.login.meta", Group: groupLogin,
			Help: "A `key=value` pair to attach to the token. Repeat the flag, or number the variable, for more.",
			bind: func(c *Config) value { return pairs(&c.Consul.Credentials.Login.Meta) },
		},
	}
}
