// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Config is what podplane itself decides about the bootstrap.
type Config struct {
	// ProxyID is the proxy's service ID in Consul's catalog. It becomes Envoy's node.id, by which Consul finds the
	// proxy's configuration. Required.
	ProxyID string

	// Admin is where Envoy's admin interface listens. Required; the port may be 0.
	Admin Address

	// XDS is where Envoy reaches podplane's ADS server. Required.
	XDS XDS

	// Ready is the bind address of a listener that answers nothing but /ready. It exists when both the host and the
	// port are set.
	Ready Address

	// Prometheus configures the listener that the proxy-config key envoy_prometheus_bind_addr asks for.
	Prometheus Prometheus

	// UseCentralConfig lets the proxy-config keys take effect. Without it they are neither used nor checked.
	UseCentralConfig bool

	// Getenv looks up the environment variables that sink URLs may name; os.Getenv fits. Nil is an empty environment.
	Getenv func(name string) string
}

// XDS is where Envoy reaches the ADS server, and how it proves that it is the Envoy that podplane started.
type XDS struct {
	// Address is `ip:port`, the path of a Unix socket, or `@name` for a socket in Linux's abstract namespace. It has the
	// form that net.Addr's String gives for such a listener.
	Address string

	// Secret, if set, is sent by Envoy as metadata [SecretMetadataKey] on its ADS stream. Printable ASCII.
	Secret string
}

// Prometheus configures the listener on which Prometheus scrapes the pod.
type Prometheus struct {
	// Merge is where podplane serves the merged metrics. An empty host means the host of the admin interface. Port 0
	// sends scrapes to Envoy's admin interface instead, without podplane's and the application's metrics.
	Merge Address

	// ScrapePath is the HTTP path that is scraped, /metrics if empty. It must begin with a slash.
	ScrapePath string

	// CertFile and KeyFile are paths, as Envoy sees them, of the certificate and key that the listener presents. They
	// and a CA come together; none of them means plain HTTP.
	CertFile, KeyFile string

	// CAFile is the path of a bundle against which certificates that scrapers present are verified.
	CAFile string

	// CADir is the folder that CABundle was read from. Templates are told of it.
	CADir string

	// CABundle are the certificates, in PEM, that take the place of CAFile when that is empty. Envoy gets them as they
	// are now, and does not see changes of the folder.
	CABundle string
}

// tls reports whether the listener presents a certificate.
func (p Prometheus) tls() bool { return p.CertFile != "" }

// Params is what Consul answers to GetEnvoyBootstrapParams.
type Params struct {
	// Service is the name of the service that the proxy stands for, or of the gateway. Servers deprecate it in favour of
	// Identity, which wins where both are set.
	Service, Identity string

	// Namespace and Partition are `default` when empty.
	Namespace, Partition string

	// Datacenter is where the service is registered.
	Datacenter string

	// NodeName is the catalog node that the proxy is registered on.
	NodeName string

	// ProxyConfig is the merged opaque configuration: proxy-defaults, service-defaults, registration. Keys that are not
	// the bootstrap's are ignored. Values have the types that encoding/json gives to an any.
	ProxyConfig map[string]any

	// AccessLogs are Envoy access loggers as JSON objects, from the AccessLogs of proxy-defaults.
	AccessLogs []string
}

// source is the name under which the proxy's traffic is reported.
func (p Params) source() string { return orDefault(p.Identity, p.Service) }

func (p Params) namespace() string { return orDefault(p.Namespace, defaultTenant) }

func (p Params) partition() string { return orDefault(p.Partition, defaultTenant) }

// defaultTenant is Consul's name for the namespace and the partition of those who did not choose one.
const defaultTenant = "default"

const defaultScrapePath = "/metrics"

// withDefaults fills in what may be left empty.
func (c Config) withDefaults() Config {
	c.Prometheus.ScrapePath = orDefault(c.Prometheus.ScrapePath, defaultScrapePath)
	c.Prometheus.Merge.Host = orDefault(c.Prometheus.Merge.Host, c.Admin.Host)
	if c.Getenv == nil {
		c.Getenv = func(string) string { return "" }
	}
	return c
}

// check reports what Envoy would refuse, or take and then not do.
func (c Config) check() error {
	var errs []error
	if c.ProxyID == "" {
		errs = append(errs, errors.New("proxy ID is empty"))
	}
	if err := c.Admin.check(); err != nil {
		errs = append(errs, fmt.Errorf("admin address: %w", err))
	}
	if _, err := xdsAddress(c.XDS.Address); err != nil {
		errs = append(errs, fmt.Errorf("xDS address: %w", err))
	}
	if strings.ContainsFunc(c.XDS.Secret, notPrintable) {
		errs = append(errs, errors.New("xDS secret is not printable ASCII"))
	}
	if c.hasReadyListener() {
		if err := c.Ready.check(); err != nil {
			errs = append(errs, fmt.Errorf("ready address: %w", err))
		}
	}
	if err := c.Prometheus.check(); err != nil {
		errs = append(errs, fmt.Errorf("prometheus: %w", err))
	}
	return errors.Join(errs...)
}

func (c Config) hasReadyListener() bool { return c.Ready.Host != "" && c.Ready.Port != 0 }

func (p Prometheus) check() error {
	var errs []error
	if p.Merge.Port != 0 {
		if err := p.Merge.check(); err != nil {
			errs = append(errs, fmt.Errorf("merge address: %w", err))
		}
	}
	if !strings.HasPrefix(p.ScrapePath, "/") {
		errs = append(errs, fmt.Errorf("scrape path %s does not begin with a slash", clip(p.ScrapePath)))
	}
	if (p.CertFile == "") != (p.KeyFile == "") {
		errs = append(errs, errors.New("certificate and key must be given together"))
	}
	if p.CAFile == "" && p.CADir != "" && p.CABundle == "" {
		errs = append(errs, fmt.Errorf("folder %s holds no CA certificate", clip(p.CADir)))
	}
	if hasCA := p.CAFile != "" || p.CADir != ""; p.tls() != hasCA {
		errs = append(errs, errors.New("certificate and CA must be given together"))
	}
	return errors.Join(errs...)
}

// Address is an IP address and a port to bind or to connect to.
type Address struct {
	// Host is an IPv4 or IPv6 address without brackets. Envoy resolves no names in listeners and static clusters.
	Host string

	// Port is 0 to 65535.
	Port int
}

const maxPort = 65535

func (a Address) check() error {
	if _, err := netip.ParseAddr(a.Host); err != nil {
		return fmt.Errorf("%s is not an IP address", clip(a.Host))
	}
	if a.Port < 0 || a.Port > maxPort {
		return fmt.Errorf("port %d is not between 0 and %d", a.Port, maxPort)
	}
	return nil
}

// parseAddress reads `ip:port`, with brackets around an IPv6 address.
func parseAddress(s string) (Address, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("%s is not an IP address and a port (such as 0.0.0.0:20200 or [::]:20200)", clip(s))
	}
	return Address{Host: ap.Addr().String(), Port: int(ap.Port())}, nil
}

// dialable replaces the unspecified address, which is one to bind, by loopback of the same family.
func (a Address) dialable() Address {
	addr, err := netip.ParseAddr(a.Host)
	switch {
	case err != nil || !addr.IsUnspecified():
	case addr.Is4():
		a.Host = "127.0.0.1"
	default:
		a.Host = netip.IPv6Loopback().String()
	}
	return a
}

// notPrintable tells what gRPC metadata cannot carry. https://grpc.io/docs/guides/metadata
func notPrintable(r rune) bool { return r < ' ' || r > '~' }

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// String gives `ip:port`, with brackets around an IPv6 address.
func (a Address) String() string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(a.Port)
}
