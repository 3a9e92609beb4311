// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"net"
	"os"
	"strconv"
	"strings"

	"podplane/config"
	"podplane/dnsproxy"
	"podplane/envoy"
	"podplane/envoybootstrap"
	"podplane/lifecycle"
	"podplane/metrics"
	"podplane/selfregister"
	"podplane/serverconn"
	"podplane/xdsproxy"
)

// The functions below translate the settings into what each part takes, and do
// nothing else: what exists only at run time (the parts that a part talks to,
// the registry, addresses that were bound) is added where the part is built.

func adminConfig(c config.Envoy) envoy.AdminConfig {
	return envoy.AdminConfig{
		Address:    hostPort(c.AdminBindAddr, c.AdminBindPort),
		IgnoreHTTP: envoybootstrap.ObserverStatPrefixes(),
	}
}

func envoyConfig(c *config.Config) envoy.Config {
	e := c.Envoy
	return envoy.Config{
		Path:          e.ExecutablePath,
		ExtraArgs:     c.EnvoyArgs,
		LogLevel:      c.Logging.Level,
		LogJSON:       c.Logging.JSON,
		Concurrency:   e.Concurrency,
		DrainTime:     e.DrainTime,
		DrainStrategy: e.DrainStrategy,
		MaxRestarts:   e.MaxRestarts,
		RestartWindow: e.RestartWindow,
	}
}

func sessionConfig(c config.Consul) serverconn.Config {
	login := c.Credentials.Login
	return serverconn.Config{
		Addresses:           c.Addresses,
		GRPCPort:            c.GRPCPort,
		ServerWatchDisabled: c.ServerWatchDisabled,
		TLS: serverconn.TLSConfig{
			Disabled:           c.TLS.Disabled,
			CAPath:             c.TLS.CACertsPath,
			CertFile:           c.TLS.CertFile,
			KeyFile:            c.TLS.KeyFile,
			ServerName:         c.TLS.ServerName,
			InsecureSkipVerify: c.TLS.InsecureSkipVerify,
		},
		Credentials: serverconn.Credentials{
			Type:            serverconn.CredentialType(c.Credentials.Type),
			StaticToken:     c.Credentials.Static.Token.Reveal(),
			StaticTokenPath: c.Credentials.Static.TokenPath,
			Login: serverconn.LoginConfig{
				AuthMethod:      login.AuthMethod,
				Namespace:       login.Namespace,
				Partition:       login.Partition,
				Datacenter:      login.Datacenter,
				BearerToken:     login.BearerToken.Reveal(),
				BearerTokenPath: login.BearerTokenPath,
				Meta:            login.Meta,
			},
		},
		MaxRefusals: maxRefusals,
	}
}

func xdsConfig(c config.XDSServer) xdsproxy.Config {
	addr := c.BindAddr
	if addr != "" && !strings.HasPrefix(addr, "unix://") {
		addr = hostPort(addr, c.BindPort)
	}
	return xdsproxy.Config{
		Addr:        addr,
		NoCache:     c.Cache == config.CacheOff,
		MaxRefusals: maxRefusals,
	}
}

func dnsConfig(c *config.Config) dnsproxy.Config {
	return dnsproxy.Config{
		Addr:      hostPort(c.DNSServer.BindAddr, c.DNSServer.BindPort),
		Namespace: c.Proxy.Namespace,
		Partition: c.Proxy.Partition,
		Recursors: c.DNSServer.Recursors,
		CacheSize: c.DNSServer.CacheSize,
		Stale:     c.DNSServer.Stale,
	}
}

func metricsConfig(c config.Prometheus) metrics.Config {
	return metrics.Config{
		Addr:            hostPort(c.MergeBindAddr, c.MergePort),
		ApplicationURLs: c.ServiceMetricsURLs,
		MaxSourceBytes:  c.ScrapeMaxBytes,
	}
}

func drainConfig(c *config.Config) lifecycle.DrainConfig {
	l := c.Lifecycle
	return lifecycle.DrainConfig{
		Grace:            l.ShutdownGracePeriod,
		DrainInbound:     l.ShutdownDrainListeners,
		DrainTime:        c.Envoy.DrainTime,
		WhenIdle:         lifecycle.WhenIdle(l.ShutdownWhenIdle),
		TerminationGrace: l.TerminationGracePeriod,
	}
}

func lifecycleConfig(c config.Lifecycle) lifecycle.ServerConfig {
	return lifecycle.ServerConfig{
		Addr:         c.Addr,
		Port:         c.Port,
		ShutdownPath: c.ShutdownPath,
		StartupPath:  c.StartupPath,
		StartupGrace: c.StartupGracePeriod,
	}
}

func registrationConfig(c *config.Config) selfregister.Config {
	r := c.Registration
	return selfregister.Config{
		Node:      c.Proxy.NodeName,
		Instance:  selfregister.Instance(r.ServiceFile),
		Namespace: c.Proxy.Namespace,
		Partition: c.Proxy.Partition,
		HTTPPort:  r.HTTPPort,
		Plain:     r.HTTPTLSDisabled,
	}
}

func proxyRef(c config.Proxy) serverconn.ProxyRef {
	return serverconn.ProxyRef{
		ID: c.ID, NodeID: c.NodeID, NodeName: c.NodeName, Namespace: c.Namespace, Partition: c.Partition,
	}
}

// bootstrapConfig reads files where the CAs are a folder.
func bootstrapConfig(c *config.Config) envoybootstrap.Config {
	prom := c.Telemetry.Prometheus
	b := envoybootstrap.Config{
		ProxyID:          c.Proxy.ID,
		Admin:            envoybootstrap.Address{Host: c.Envoy.AdminBindAddr, Port: c.Envoy.AdminBindPort},
		UseCentralConfig: c.Telemetry.UseCentralConfig,
		Prometheus: envoybootstrap.Prometheus{
			ScrapePath: prom.ScrapePath,
			CertFile:   prom.CertFile,
			KeyFile:    prom.KeyFile,
		},
	}
	if c.Envoy.ReadyEnabled() {
		b.Ready = envoybootstrap.Address{Host: c.Envoy.ReadyBindAddr, Port: c.Envoy.ReadyBindPort}
	}
	if info, err := os.Stat(prom.CACertsPath); err == nil && info.IsDir() {
		b.Prometheus.CADir, b.Prometheus.CABundle = prom.CACertsPath, caBundle(prom.CACertsPath)
	} else {
		b.Prometheus.CAFile = prom.CACertsPath
	}
	return b
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
