// SPDX-License-Identifier: MPL-2.0

package config

import (
	"net"
	"strconv"
)

// The headings of the companion's table.
const (
	groupKubernetes = "Kubernetes"
	groupOwnLogin   = "The companion's own credentials"
	groupInject     = "Injection"
	groupPods       = "Defaults of pods"
	groupTenancy    = "Consul Enterprise"
	groupRegistrar  = "Registrar"
	groupWebhook    = "Webhook server"
	groupBootstrap  = "bootstrap-acl"
)

// listenAddress takes host:port, where the host is an IP address or empty.
func listenAddress() check {
	return check{want: "host:port, the host an IP address or empty for all", ok: func(s string) bool {
		host, port, err := net.SplitHostPort(s)
		n, bad := strconv.Atoi(port)
		return err == nil && bad == nil && n >= 0 && n <= maxPort && (host == "" || ipAddress().ok(host))
	}}
}

func (c *Companion) kubernetesSettings() []Setting {
	return []Setting{
		{
			Flag: "kubeconfig", Group: groupKubernetes,
			Help: "Path of a kubeconfig file. Unset: the pod's own ServiceAccount.",
			bind: func(*Config) value { return text(&c.Kubeconfig) },
		}, {
			Flag: "namespace", Default: "podplane-system", Group: groupKubernetes,
			Help: "The Kubernetes namespace that podplane-injector runs in, with its Secret, Lease and Service.",
			bind: func(*Config) value { return text(&c.Namespace, notEmpty()) },
		}, {
			Flag: "leader-election", Default: "true", Group: groupKubernetes,
			Help: "Let only one of several replicas register pods. All of them serve the webhook.",
			bind: func(*Config) value { return boolean(&c.LeaderElection) },
		}, {
			Flag: "lease-name", Default: "podplane-injector", Group: groupKubernetes,
			Help: "The Lease that replicas compete for.",
			bind: func(*Config) value { return text(&c.LeaseName, notEmpty()) },
		}, {
			Flag: "metrics-addr", Default: ":9444", Group: groupKubernetes,
			Help: "Where `/metrics` is served, in plain text. `off` serves none.",
			bind: func(*Config) value { return text(&c.MetricsAddr, orOff(listenAddress())) },
		}, {
			Flag: "health-addr", Default: ":9445", Group: groupKubernetes,
			Help: "Where `/healthz` and `/readyz` are served, for probes.",
			bind: func(*Config) value { return text(&c.HealthAddr, listenAddress()) },
		}, {
			Flag: "version-check-interval", Default: "10m0s", Group: groupKubernetes,
			Help: "The time between two looks at the API server's version, on which native sidecars depend.",
			bind: func(*Config) value { return duration(&c.Webhook.VersionInterval) },
		},
	}
}

// orOff takes what c takes, and the word off.
func orOff(c check) check {
	takes := c.ok
	c.want += ", or off"
	c.ok = func(s string) bool { return s == Off || takes(s) }
	return c
}

// Off is the value that turns off what has an address.
const Off = "off"

func (c *Companion) consulSettings() []Setting {
	return []Setting{
		{
			Flag: "consul-addresses", Group: groupConsul,
			Help: "Where the Consul servers are: an IP address, a DNS name, or `exec=` and a command that prints addresses. For podplane-injector and the sidecars. Required.",
			bind: func(*Config) value { return text(&c.Consul.Addresses, serverAddresses()) },
		}, {
			Flag: "consul-http-port", Default: "0", Group: groupConsul,
			Help: "The port of the servers' HTTP API, which podplane-injector uses. 0: 8501 with TLS, else 8500.",
			bind: func(*Config) value { return number(&c.Consul.HTTPPort, 0, maxPort) },
		}, {
			Flag: "consul-grpc-port", Default: "8502", Group: groupConsul,
			Help: "The gRPC port of the servers, which sidecars use.",
			bind: func(*Config) value { return number(&c.Consul.GRPCPort, 1, maxPort) },
		}, {
			Flag: "consul-datacenter", Group: groupConsul,
			Help: "The datacenter to register pods in. Unset: the servers' own.",
			bind: func(*Config) value { return text(&c.Consul.Datacenter) },
		}, {
			Flag: "consul-server-watch-disabled", Default: "false", Group: groupConsul,
			Help: "Tell sidecars not to follow the servers' own list of servers. For servers behind a load balancer.",
			bind: func(*Config) value { return boolean(&c.Consul.ServerWatchDisabled) },
		}, {
			Flag: "consul-tls-disabled", Default: "false", Group: groupConsul,
			Help: "Talk to the servers in plain text.",
			bind: func(*Config) value { return boolean(&c.Consul.TLS.Disabled) },
		}, {
			Flag: "consul-tls-insecure-skip-verify", Default: "false", Group: groupConsul,
			Help: "Do not verify the servers' certificates. Not for production.",
			bind: func(*Config) value { return boolean(&c.Consul.TLS.InsecureSkipVerify) },
		}, {
			Flag: "consul-ca-certs", Group: groupConsul,
			Help: "Path of a PEM file with the CAs of the servers. Its content is given to the sidecars, and read again when it changes. Unset: the system's CAs.",
			bind: func(*Config) value { return text(&c.Consul.TLS.CACertsPath) },
		}, {
			Flag: "consul-tls-cert", Group: groupConsul,
			Help: "Path of the PEM file with podplane-injector's client certificate. Needs `-consul-tls-key`.",
			bind: func(*Config) value { return text(&c.Consul.TLS.CertFile) },
		}, {
			Flag: "consul-tls-key", Group: groupConsul,
			Help: "Path of the PEM file with the client certificate's private key.",
			bind: func(*Config) value { return text(&c.Consul.TLS.KeyFile) },
		}, {
			Flag: "consul-tls-server-name", Group: groupConsul,
			Help: "The name to expect in the servers' certificates. Unset: the DNS name in `-consul-addresses`.",
			bind: func(*Config) value { return text(&c.Consul.TLS.ServerName) },
		},
	}
}

func (c *Companion) credentialSettings() []Setting {
	own := &c.Consul.Credentials
	return []Setting{
		{
			Flag: "consul-credential-type", Group: groupOwnLogin,
			Help: "Where podplane-injector's ACL token comes from: `static` or `login`. Unset: no token.",
			bind: func(*Config) value {
				return text(&own.Type, optional(oneOf(string(CredentialStatic), string(CredentialLogin))))
			},
		}, {
			Flag: "consul-token", Group: groupOwnLogin,
			Help: "The ACL token, for type `static`. Refused on the command line, which everybody can read: for the environment and the file.",
			bind: func(*Config) value { return text(&own.Static.Token) },
		}, {
			Flag: "consul-token-path", Group: groupOwnLogin,
			Help: "Path of a file with the ACL token, for type `static`. It is read again when it changes.",
			bind: func(*Config) value { return text(&own.Static.TokenPath) },
		}, {
			Flag: "consul-login-auth-method", Group: groupOwnLogin,
			Help: "The auth method to log in to, for type `login`: the one that `bootstrap-acl` makes.",
			bind: func(*Config) value { return text(&own.Login.AuthMethod) },
		}, {
			Flag: "consul-login-bearer-token-path", Default: "/var/run/secrets/kubernetes.io/serviceaccount/token", Group: groupOwnLogin,
			Help: "Path of the service account token to log in with.",
			bind: func(*Config) value { return text(&own.Login.BearerTokenPath) },
		}, {
			Flag: "consul-login-namespace", Group: groupOwnLogin,
			Help: "The Consul namespace of the auth method.",
			bind: func(*Config) value { return text(&own.Login.Namespace) },
		}, {
			Flag: "consul-login-partition", Group: groupOwnLogin,
			Help: "The partition of the auth method.",
			bind: func(*Config) value { return text(&own.Login.Partition) },
		}, {
			Flag: "consul-login-datacenter", Group: groupOwnLogin,
			Help: "The datacenter of the auth method.",
			bind: func(*Config) value { return text(&own.Login.Datacenter) },
		},
	}
}

func (c *Companion) tenancySettings() []Setting {
	t := &c.Tenancy
	return []Setting{
		{
			Flag: "enable-consul-namespaces", Default: "false", Group: groupTenancy,
			Help: "Consul has namespaces.",
			bind: func(*Config) value { return boolean(&t.Namespaces) },
		}, {
			Flag: "consul-destination-namespace", Default: "default", Group: groupTenancy,
			Help: "The Consul namespace of all services, unless they are mirrored. Dataplanes that run keep this, mirroring and the partition as they were when they were injected: replace the pods after a change.",
			bind: func(*Config) value { return text(&t.Destination) },
		}, {
			Flag: "consul-namespace-mirroring", Default: "false", Group: groupTenancy,
			Help: "Register services in the Consul namespace of their Kubernetes namespace's name.",
			bind: func(*Config) value { return boolean(&t.Mirroring) },
		}, {
			Flag: "consul-namespace-mirroring-prefix", Group: groupTenancy,
			Help: "What to put before the names of mirrored namespaces.",
			bind: func(*Config) value { return text(&t.MirroringPrefix) },
		}, {
			Flag: "consul-partition", Group: groupTenancy,
			Help: "The admin partition of this cluster.",
			bind: func(*Config) value { return text(&t.Partition) },
		}, {
			Flag: "cross-namespace-policy", Group: groupTenancy,
			Help: "The ACL policy to attach to Consul namespaces that are created.",
			bind: func(*Config) value { return text(&t.CrossNamespacePolicy) },
		},
	}
}

func (c *Companion) registrarSettings() []Setting {
	r := &c.Registrar
	return []Setting{
		{
			Flag: "cluster-name", Group: groupRegistrar,
			Help: "The name of this cluster in the meta of what is registered. Clusters that share a Consul datacenter need different ones. Unset: the UID of the namespace kube-system.",
			bind: func(*Config) value { return text(&r.ClusterName) },
		}, {
			Flag: "node-suffix", Default: "-virtual", Group: groupRegistrar,
			Help: "What makes the name of a catalog node of a Kubernetes node's. Clusters that share a Consul datacenter, and have nodes or pods of the same names, need different ones. Dataplanes that run keep the one that they were injected with: replace the pods after a change.",
			bind: func(*Config) value { return text(&r.NodeSuffix, notEmpty()) },
		}, {
			Flag: "node-meta", Group: groupRegistrar,
			Help: "A `key=value` pair for the meta of catalog nodes. Repeat the flag for more.",
			bind: func(*Config) value { return pairs(&r.NodeMeta) },
		}, {
			Flag: "registrar-workers", Default: "8", Group: groupRegistrar,
			Help: "How many pods are brought up to date at the same time.",
			bind: func(*Config) value { return number(&r.Workers, 1, 1024) },
		}, {
			Flag: "sweep-interval", Default: "5m0s", Group: groupRegistrar,
			Help: "The time between comparisons of the whole catalog with the pods.",
			bind: func(*Config) value { return duration(&r.SweepInterval) },
		}, {
			Flag: "locality", Default: "true", Group: groupRegistrar,
			Help: "Register the region and zone of the Kubernetes node with services.",
			bind: func(*Config) value { return boolean(&r.Locality) },
		}, {
			Flag: "token-cleanup", Default: "true", Group: groupRegistrar,
			Help: "Delete the ACL tokens of pods that are gone, where sidecars log in (`-acl-auth-method`). Needs `acl = \"write\"`; without it tokens live until they expire.",
			bind: func(*Config) value { return boolean(&r.TokenCleanup) },
		},
	}
}
