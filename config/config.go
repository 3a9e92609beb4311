// SPDX-License-Identifier: MPL-2.0

package config

import (
	"strings"
	"time"
)

// Mode says what the process is.
type Mode string

// The modes.
const (
	// ModeSidecar runs Envoy for one proxy.
	ModeSidecar Mode = "sidecar"
	// ModeDNSProxy serves Consul DNS only: no Envoy and no proxy ID.
	ModeDNSProxy Mode = "dns-proxy"
)

// CredentialType says how the process proves to Consul who it is.
type CredentialType string

// The credential types. The empty one means that ACLs are off.
const (
	CredentialNone   CredentialType = ""
	CredentialStatic CredentialType = "static"
	CredentialLogin  CredentialType = "login"
)

// IdlePolicy says when a shutdown may end before its grace period does.
type IdlePolicy string

// The idle policies.
const (
	// IdleAuto ends a shutdown asked for over HTTP as soon as Envoy is idle, and
	// lets one asked for by signal keep its grace period.
	IdleAuto IdlePolicy = "auto"
	// IdleAlways ends every shutdown as soon as Envoy is idle.
	IdleAlways IdlePolicy = "always"
	// IdleNever keeps the whole grace period.
	IdleNever IdlePolicy = "never"
)

// The values of [XDSServer].Cache that are not a folder.
const (
	CacheMemory = "memory"
	CacheOff    = "off"
)

// RecursorsSystem in [DNSServer].Recursors stands for the resolvers of
// /etc/resolv.conf.
const RecursorsSystem = "system"

// DNSDisabled is the [DNSServer].BindPort that turns the DNS proxy off.
const DNSDisabled = -1

// Config is everything that podplane can be told. Its groups follow the
// components that use them; the JSON file's groups, which are older, are in the
// table.
type Config struct {
	Mode   Mode
	Consul Consul
	Proxy  Proxy
	// Registration is for machines where nobody else registers the proxy.
	Registration Registration
	Logging      Logging
	XDSServer    XDSServer
	DNSServer    DNSServer
	Telemetry    Telemetry
	Envoy        Envoy
	Lifecycle    Lifecycle

	// ConfigFile is the path of the JSON file that was read, or empty.
	ConfigFile string
	// EnvoyArgs are the arguments after "--", meant for Envoy.
	EnvoyArgs []string

	// Help, Version and CheckProxyHealth tell that -help, -version or
	// -check-proxy-health was given. With Help or Version, Load checks nothing,
	// with CheckProxyHealth only what reaching Envoy's admin interface needs.
	Help, Version, CheckProxyHealth bool

	// Warnings are sentences for the log: deprecated settings in use, values
	// that have no effect, choices that expose something. They hold no secret.
	Warnings []string

	// service holds the deprecated service.* settings until they are either
	// adopted into Proxy or discarded.
	service Proxy
	// sources tells, by flag name, where a value that is not a default is from.
	sources map[string]string
}

// Consul is how to find and talk to the Consul servers.
type Consul struct {
	// Addresses is an IP address, a DNS name, or "exec=" and a command that
	// prints addresses.
	Addresses string
	// GRPCPort is the gRPC port of every server.
	GRPCPort int
	// ServerWatchDisabled turns off following the servers' own list of servers.
	ServerWatchDisabled bool
	TLS                 ConsulTLS
	Credentials         Credentials
}

// ConsulTLS is TLS towards the servers.
type ConsulTLS struct {
	Disabled           bool
	InsecureSkipVerify bool
	// CACertsPath is a PEM file or a folder of them; empty means the system's.
	CACertsPath string
	// CertFile and KeyFile are a client certificate: both or neither.
	CertFile, KeyFile string
	// ServerName is what the servers' certificates are checked against; empty
	// means that it is inferred from the address.
	ServerName string
}

// Credentials is what the process shows to Consul. Type says which part is used.
type Credentials struct {
	Type   CredentialType
	Static StaticCredentials
	Login  LoginCredentials
}

// StaticCredentials is an ACL token that somebody else made: exactly one field
// is set if the type is static.
type StaticCredentials struct {
	Token Secret
	// TokenPath is a file that holds the token.
	TokenPath string
}

// LoginCredentials gets an ACL token from an auth method.
type LoginCredentials struct {
	AuthMethod, Namespace, Partition, Datacenter string
	// BearerToken is used if it is set, else what the file BearerTokenPath holds.
	BearerToken     Secret
	BearerTokenPath string
	// Meta is attached to the token.
	Meta map[string]string
}

// Registration is what podplane registers by itself.
type Registration struct {
	// ServiceFile is the path of a service definition, or empty: then somebody else
	// registers. Otherwise the ID of the proxy follows from it, and
	// [Proxy].NodeName, if it is empty, is the machine's name.
	ServiceFile string
	// HTTPPort is that of the servers' HTTP API; 0 is 8501 with TLS, else 8500.
	HTTPPort int
	// HTTPTLSDisabled speaks plain text to the HTTP API even where gRPC has TLS.
	HTTPTLSDisabled bool
}

// Proxy says which registered proxy this process is. Deprecated service.*
// settings end up here too.
type Proxy struct {
	NodeName, NodeID string
	// ID is the proxy's service ID, also when it came from IDPath. In mode
	// sidecar it is never empty.
	ID string
	// IDPath is the file that ID was read from, or empty.
	IDPath               string
	Namespace, Partition string
}

// Logging is what podplane and Envoy write to standard error.
type Logging struct {
	// Level is trace, debug, info, warn, error or off.
	Level string
	JSON  bool
}

// XDSServer is the local endpoint from which Envoy gets its configuration.
type XDSServer struct {
	// BindAddr is a loopback IP, "unix://" and an absolute path, or empty: a
	// private abstract Unix socket on which only Envoy is accepted.
	BindAddr string
	// BindPort goes with an IP; 0 means any free port.
	BindPort int
	// Cache is [CacheMemory], [CacheOff] or the absolute path of a folder.
	Cache string
}

// UnixPath returns the path of a "unix://" bind address, or "".
func (x XDSServer) UnixPath() string {
	path, ok := strings.CutPrefix(x.BindAddr, unixScheme)
	if !ok {
		return ""
	}
	return path
}

// DNSServer is the DNS proxy.
type DNSServer struct {
	BindAddr string
	// BindPort is [DNSDisabled], 0 for any free port, or a port.
	BindPort int
	// Recursors answer what is not Consul's: "ip:port" each, or
	// [RecursorsSystem]. Empty means that everything goes to Consul.
	Recursors []string
	// CacheSize is a number of answers; 0 turns the cache off.
	CacheSize int
	// Stale is for how long past its TTL an answer is used while no server
	// answers; 0 means never.
	Stale time.Duration
}

// Telemetry is metrics.
type Telemetry struct {
	// UseCentralConfig lets the proxy's configuration in Consul turn metrics on.
	UseCentralConfig bool
	Prometheus       Prometheus
}

// Prometheus is the merged scrape.
type Prometheus struct {
	// RetentionTime has no effect.
	RetentionTime time.Duration
	// CACertsPath (a PEM file or a folder), CertFile and KeyFile are TLS for
	// Envoy's Prometheus listener: all or none.
	CACertsPath, CertFile, KeyFile string
	// ServiceMetricsURLs are the application's endpoints.
	ServiceMetricsURLs []string
	// ScrapePath is the path on Envoy's Prometheus listener.
	ScrapePath string
	// MergeBindAddr is an IP; MergePort may be 0 for any free port.
	MergeBindAddr string
	MergePort     int
	// ScrapeMaxBytes limits what is read from one source in one scrape.
	ScrapeMaxBytes int64
}

// Envoy is how Envoy is run.
type Envoy struct {
	AdminBindAddr string
	AdminBindPort int
	// ReadyBindAddr and ReadyBindPort are Envoy's /ready listener, which exists
	// only if both are set: see ReadyEnabled.
	ReadyBindAddr  string
	ReadyBindPort  int
	Concurrency    int
	DrainTime      time.Duration
	DrainStrategy  string
	ExecutablePath string
	// MaxRestarts in RestartWindow is how often Envoy may crash; 0 turns
	// restarting off.
	MaxRestarts   int
	RestartWindow time.Duration
}

// ReadyEnabled tells whether Envoy gets a /ready listener.
func (e Envoy) ReadyEnabled() bool { return e.ReadyBindAddr != "" && e.ReadyBindPort != 0 }

// Lifecycle is how the pod starts and ends.
type Lifecycle struct {
	// Addr and Port are where the lifecycle server listens.
	Addr                      string
	Port                      int
	ShutdownPath, StartupPath string
	ShutdownDrainListeners    bool
	ShutdownGracePeriod       time.Duration
	StartupGracePeriod        time.Duration
	ShutdownWhenIdle          IdlePolicy
	// TerminationGracePeriod is the pod's own; 0 means unknown.
	TerminationGracePeriod time.Duration
	DumpEnvoyConfigOnExit  bool
}

// String lists the settings that were given, in the table's order, without
// secrets.
func (c Config) String() string {
	var parts []string
	for _, s := range Settings() {
		if s.AliasOf != "" || s.DeprecatedBy != "" {
			continue
		}
		if _, given := c.sources[s.Flag]; given {
			parts = append(parts, s.Flag+"="+s.bind(&c).String())
		}
	}
	return strings.Join(parts, " ")
}
