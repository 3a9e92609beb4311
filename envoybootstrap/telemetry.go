// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Telemetry is where the proxy config sends metrics. podplane's own metrics go the same way as Envoy's, so both read it
// here. Everything is off in the zero value.
type Telemetry struct {
	// PrometheusBindAddr is the `ip:port` on which Envoy is scraped, empty if it is not.
	PrometheusBindAddr string
	// Statsd receives plain statsd datagrams.
	Statsd Sink
	// Dogstatsd receives datagrams with tags.
	Dogstatsd Sink
}

// Sink is the address of a statsd server, with environment variables already replaced.
type Sink struct {
	// Network is `udp` or `unixgram` as for net.Dial, or empty for no sink.
	Network string
	// Address is `ip:port` for udp and a path for unixgram.
	Address string
}

// Enabled reports whether there is a sink.
func (s Sink) Enabled() bool { return s.Network != "" }

// The networks of [Sink].
const (
	networkUDP  = "udp"
	networkUnix = "unixgram"
)

// ReadTelemetry gives the telemetry settings that [Build] uses for the same arguments. It fails if a proxy-config key
// cannot be used, with all that Build would say of keys.
func ReadTelemetry(cfg Config, p Params) (Telemetry, error) {
	pc, err := readProxyConfig(cfg.withDefaults(), p)
	if err != nil {
		return Telemetry{}, fmt.Errorf("read proxy config: %w", err)
	}
	return pc.telemetry, nil
}

// parseSink reads the URL of a statsd server, for the networks that the sink's kind can use.
func parseSink(s string, getenv func(string) string, networks ...string) (Sink, error) {
	s, err := expand(s, getenv)
	if err != nil {
		return Sink{}, err
	}
	sink, err := sinkFromURL(s)
	if err != nil {
		return Sink{}, err
	}
	if !slices.Contains(networks, sink.Network) {
		return Sink{}, fmt.Errorf("%s cannot be used, only udp://ip:port", clip(s))
	}
	return sink, nil
}

func sinkFromURL(s string) (Sink, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The *url.Error repeats the URL, however long it is.
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err
		}
		return Sink{}, fmt.Errorf("%s is not a URL: %s", clip(s), clip(err.Error()))
	}
	switch u.Scheme {
	case "udp":
		at, err := parseAddress(u.Host)
		if err != nil {
			return Sink{}, err
		}
		return Sink{Network: networkUDP, Address: at.String()}, nil
	case "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return Sink{}, fmt.Errorf("%s is not of the form unix:///full/path", clip(s))
		}
		return Sink{Network: networkUnix, Address: u.Path}, checkSocketPath(u.Path)
	default:
		return Sink{}, fmt.Errorf("%s is neither udp://ip:port nor unix:///full/path", clip(s))
	}
}

// wholeVariable matches a URL that is altogether taken from the environment.
var wholeVariable = regexp.MustCompile(`^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})$`)

// hostIP is the one variable that is replaced inside a URL: Kubernetes' downward API puts the node's address there, for
// agents that run once a node.
var hostIP = regexp.MustCompile(`\$(?:\{HOST_IP\}|HOST_IP\b)`)

// expand replaces $NAME by a URL from the environment, or ${HOST_IP} within a URL by an address.
func expand(s string, getenv func(string) string) (string, error) {
	if m := wholeVariable.FindStringSubmatch(s); m != nil {
		return lookup(m[1]+m[2], getenv)
	}
	if !hostIP.MatchString(s) {
		return s, nil
	}
	ip, err := lookup("HOST_IP", getenv)
	if err != nil {
		return "", err
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "", fmt.Errorf("environment variable HOST_IP holds %s, not an IP address", clip(ip))
	}
	if addr.Is6() && !strings.Contains(s, "[") {
		ip = "[" + ip + "]"
	}
	return hostIP.ReplaceAllLiteralString(s, ip), nil
}

func lookup(name string, getenv func(string) string) (string, error) {
	v := getenv(name)
	if v == "" {
		return "", fmt.Errorf("environment variable %s is not set", name)
	}
	return v, nil
}
