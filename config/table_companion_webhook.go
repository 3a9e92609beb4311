// SPDX-License-Identifier: MPL-2.0

package config

func (c *Companion) webhookSettings() []Setting {
	w := &c.Webhook
	return []Setting{
		{
			Flag: "webhook-addr", Default: ":8080", Group: groupWebhook,
			Help: "Where the webhook is served, over TLS. API servers must reach it.",
			bind: func(*Config) value { return text(&w.Addr, listenAddress()) },
		}, {
			Flag: "webhook-config-name", Default: "podplane-injector", Group: groupWebhook,
			Help: "The MutatingWebhookConfiguration that gets the CA bundle.",
			bind: func(*Config) value { return text(&w.ConfigurationName, notEmpty()) },
		}, {
			Flag: "webhook-service-name", Default: "podplane-injector", Group: groupWebhook,
			Help: "The Service that API servers connect to; the certificate is for its DNS name in `-namespace`.",
			bind: func(*Config) value { return text(&w.ServiceName, notEmpty()) },
		}, {
			Flag: "webhook-concurrency", Default: "64", Group: groupWebhook,
			Help: "How many pods are decided on at the same time. Eight times as many wait, for two seconds at most; the API server is told to ask again about more.",
			bind: func(*Config) value { return number(&w.Concurrency, 1, 65536) },
		}, {
			Flag: "shutdown-delay", Default: "5s", Group: groupWebhook,
			Help: "How long the webhook goes on serving when the end is asked for, until no API server is sent to it.",
			bind: func(*Config) value { return duration(&w.ShutdownDelay) },
		}, {
			Flag: "cert-mode", Default: CertsOwn, Group: groupWebhook,
			Help: "Where the certificate comes from: `own` makes and rotates it, `files` reads it.",
			bind: func(*Config) value { return text(&w.CertMode, oneOf(CertsOwn, CertsFiles)) },
		}, {
			Flag: "cert-secret", Default: "podplane-injector-certs", Group: groupWebhook,
			Help: "The Secret in which replicas share certificates, for `own`.",
			bind: func(*Config) value { return text(&w.SecretName, notEmpty()) },
		}, {
			Flag: "cert-names", Group: groupWebhook,
			Help: "Further DNS names for the certificate, for `own`.",
			bind: func(*Config) value { return list(&w.ExtraNames, notEmpty()) },
		}, {
			Flag: "cert-ttl", Default: "72h0m0s", Group: groupWebhook,
			Help: "The life of a certificate, for `own`. It is replaced when a third is left.",
			bind: func(*Config) value { return duration(&w.LeafTTL) },
		}, {
			Flag: "cert-ca-ttl", Default: "8760h0m0s", Group: groupWebhook,
			Help: "The life of the authority, for `own`. Its successor is prepared when a fifth is left.",
			bind: func(*Config) value { return duration(&w.AuthorityTTL) },
		}, {
			Flag: "cert-file", Group: groupWebhook,
			Help: "Path of the PEM file with the certificate, for `files`. It is read again when it changes.",
			bind: func(*Config) value { return text(&w.CertFile) },
		}, {
			Flag: "key-file", Group: groupWebhook,
			Help: "Path of the PEM file with the certificate's private key, for `files`.",
			bind: func(*Config) value { return text(&w.KeyFile) },
		}, {
			Flag: "cert-ca-file", Group: groupWebhook,
			Help: "Path of the PEM file with the authorities to put into the webhook configuration, for `files`. Unset: somebody else does that.",
			bind: func(*Config) value { return text(&w.CAFile) },
		},
	}
}

func (c *Companion) bootstrapSettings() []Setting {
	b := &c.Bootstrap
	return []Setting{
		{
			Flag: "bootstrap-token", Group: groupBootstrap,
			Help: "The ACL token that makes everything; it needs `acl = \"write\"`. Refused on the command line, which everybody can read.",
			bind: func(*Config) value { return text(&b.Token) },
		}, {
			Flag: "bootstrap-token-path", Group: groupBootstrap,
			Help: "Path of a file with that token.",
			bind: func(*Config) value { return text(&b.TokenPath) },
		}, {
			Flag: "auth-method-name", Default: "podplane", Group: groupBootstrap,
			Help: "The Kubernetes auth method to make: for sidecars and for podplane-injector itself.",
			bind: func(*Config) value { return text(&b.AuthMethod, notEmpty()) },
		}, {
			Flag: "policy-name", Default: "podplane-injector", Group: groupBootstrap,
			Help: "The policy to make for podplane-injector.",
			bind: func(*Config) value { return text(&b.Policy, notEmpty()) },
		}, {
			Flag: "role-name", Default: "podplane-injector", Group: groupBootstrap,
			Help: "The role to make for podplane-injector.",
			bind: func(*Config) value { return text(&b.Role, notEmpty()) },
		}, {
			Flag: "service-account", Default: "podplane-injector", Group: groupBootstrap,
			Help: "The ServiceAccount of podplane-injector, in `-namespace`, that may log in to the role.",
			bind: func(*Config) value { return text(&b.ServiceAccount, notEmpty()) },
		}, {
			Flag: "max-token-ttl", Default: "24h0m0s", Group: groupBootstrap,
			Help: "The life of tokens that a login gives: at least 1m, at most 24h in Consul's default configuration. podplane logs in again in time; a token that nobody logged out ends by itself.",
			bind: func(*Config) value { return duration(&b.MaxTokenTTL) },
		}, {
			Flag: "kubernetes-host", Group: groupBootstrap,
			Help: "The URL of the API server as Consul's servers reach it. Required.",
			bind: func(*Config) value { return text(&b.KubernetesHost, httpURL()) },
		}, {
			Flag: "kubernetes-ca-file", Default: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", Group: groupBootstrap,
			Help: "Path of the PEM file with the CA of the API server.",
			bind: func(*Config) value { return text(&b.KubernetesCAFile, notEmpty()) },
		}, {
			Flag: "reviewer-token-path", Default: "/var/run/secrets/kubernetes.io/serviceaccount/token", Group: groupBootstrap,
			Help: "Path of the service account token with which Consul asks the API server about bearer tokens. It must not expire, and its account needs `system:auth-delegator` and to read ServiceAccounts.",
			bind: func(*Config) value { return text(&b.ReviewerTokenPath, notEmpty()) },
		}, {
			Flag: "binding-selector", Default: "serviceaccount.name!=default", Group: groupBootstrap,
			Help: "Which ServiceAccounts may log in as the service of their name.",
			bind: func(*Config) value { return text(&b.BindingSelector) },
		},
	}
}
