// SPDX-License-Identifier: MPL-2.0

package config

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// adoptDeprecated moves the service.* settings to the proxy.* ones, unless one of
// those is set: then every service.* value is discarded, as it always was.
func (l *loader) adoptDeprecated() {
	var rival string // the source of a proxy.* value
	for _, s := range deprecatedSettings() {
		if l.isSet(s.DeprecatedBy) && rival == "" {
			rival = l.cfg.sources[s.DeprecatedBy]
		}
	}
	for _, s := range deprecatedSettings() {
		source, given := l.cfg.sources[s.Flag]
		switch {
		case !given:
		case rival != "":
			l.warn("%s is ignored, because %s replaces all deprecated service settings", source, rival)
		default:
			l.warn("%s is deprecated: use -%s", source, s.DeprecatedBy)
			l.cfg.sources[s.DeprecatedBy] = source
		}
	}
	if rival == "" {
		l.cfg.Proxy = l.cfg.service
	}
	l.cfg.service = Proxy{}
}

// readIDFile gets the proxy ID from its file.
func (l *loader) readIDFile() {
	proxy := &l.cfg.Proxy
	switch {
	case l.cfg.Mode == ModeDNSProxy || proxy.IDPath == "":
		return
	case proxy.ID != "":
		l.warn("%s is ignored, because %s gives the proxy ID itself", l.cfg.sources["proxy-id-path"], l.cfg.sources["proxy-id"])
		proxy.IDPath = ""
		return
	}
	data, err := readLimited(proxy.IDPath)
	if err == nil {
		err = checkIDFile(string(data))
	}
	if err != nil {
		l.refuse("proxy-id-path", err.Error())
		return
	}
	proxy.ID = string(data)
	l.cfg.sources["proxy-id"] = l.cfg.sources["proxy-id-path"]
}

// checkIDFile does not trim: what else is in the file may have been meant.
func checkIDFile(id string) error {
	switch {
	case strings.TrimSpace(id) == "":
		return fmt.Errorf("is empty: it must hold the proxy ID")
	case strings.TrimSpace(id) != id && !hasSpace(strings.TrimSpace(id)):
		return fmt.Errorf("has white space (such as a newline) around the proxy ID: it must hold the ID alone, " +
			"as written by printf %%s ID > FILE rather than echo ID > FILE")
	case !isPlainID(id):
		return fmt.Errorf("holds white space or control characters: it must hold one proxy ID and nothing else")
	}
	return nil
}

// isPlainID tells whether an ID has only characters that can be seen.
func isPlainID(id string) bool {
	return utf8.ValidString(id) && !strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

// validate checks what only settings together can get wrong. What one setting
// takes is in its row of the table.
func (l *loader) validate() {
	l.require("addresses", "")
	l.validateTLS()
	l.validateCredentials()
	l.validateMetrics()
	l.validateRegistration()
	if l.cfg.Mode == ModeDNSProxy {
		l.validateDNSProxy()
	} else {
		l.validateSidecar()
	}
	l.validateLifecycle()
	l.validatePorts()
}

func (l *loader) validateTLS() {
	l.allOrNone("tls-cert", "tls-key")
	if !l.cfg.Consul.TLS.Disabled {
		return
	}
	for _, flag := range []string{"ca-certs", "tls-cert", "tls-key", "tls-server-name"} {
		if l.isSet(flag) {
			l.warn("%s has no effect, because TLS is disabled by %s", l.cfg.sources[flag], l.cfg.sources["tls-disabled"])
		}
	}
}

func (l *loader) validateCredentials() {
	switch l.cfg.Consul.Credentials.Type {
	case CredentialStatic:
		because := "because -credential-type is static"
		if l.isSet("static-token") && l.isSet("static-token-path") {
			l.refuse("static-token-path", "contradicts "+l.cfg.sources["static-token"]+": give the token or its file, not both")
		}
		l.requireOne("static-token", "static-token-path", because)
	case CredentialLogin:
		because := "because -credential-type is login"
		l.require("login-auth-method", because)
		l.requireOne("login-bearer-token", "login-bearer-token-path", because)
		if l.isSet("login-bearer-token") && l.isSet("login-bearer-token-path") {
			l.warn("%s is ignored, because %s gives the token itself", l.cfg.sources["login-bearer-token-path"], l.cfg.sources["login-bearer-token"])
		}
	case CredentialNone:
		for _, flag := range []string{"static-token", "static-token-path", "login-auth-method", "login-bearer-token", "login-bearer-token-path"} {
			if l.isSet(flag) {
				l.warn("%s has no effect, because -credential-type is not set", l.cfg.sources[flag])
			}
		}
	}
}

func (l *loader) validateMetrics() {
	prom := l.cfg.Telemetry.Prometheus
	if l.isSet("telemetry-prom-retention-time") {
		l.warn("%s has no effect, because podplane's own metrics do not expire", l.cfg.sources["telemetry-prom-retention-time"])
	}
	l.allOrNone("telemetry-prom-ca-certs-path", "telemetry-prom-cert-file", "telemetry-prom-key-file")
	switch {
	case isLoopback(prom.MergeBindAddr):
	case prom.CertFile != "":
		l.refuse("telemetry-prom-merge-bind-addr", "must be a loopback address, because the metrics are to be served with TLS and there is none on this port")
	default:
		l.warn("%s: metrics are served in plain text to everyone who can reach the pod at %s",
			l.cfg.sources["telemetry-prom-merge-bind-addr"], prom.MergeBindAddr)
	}
}

// validateRegistration refuses a second opinion on what the service file says.
func (l *loader) validateRegistration() {
	file := l.cfg.sources["service-file"]
	if !l.isSet("service-file") {
		for _, flag := range []string{"consul-http-port", "consul-http-tls-disabled"} {
			if l.isSet(flag) {
				l.warn("%s has no effect without -service-file", l.cfg.sources[flag])
			}
		}
		return
	}
	if l.cfg.Mode == ModeDNSProxy {
		l.refuse("service-file", "is for mode sidecar only: mode dns-proxy has no proxy to register")
		return
	}
	for _, flag := range []string{"proxy-id", "proxy-id-path"} {
		if l.isSet(flag) {
			l.refuse(flag, "contradicts "+file+": the proxy ID follows from the service file")
		}
	}
	if l.isSet("proxy-node-id") {
		l.refuse("proxy-node-id", "contradicts "+file+": podplane registers on a node that it knows by name, see -proxy-node-name")
	}
}

func (l *loader) validateSidecar() {
	switch id := l.cfg.Proxy.ID; {
	case id == "" && l.cfg.Registration.ServiceFile != "": // which gives it
	case id == "":
		l.requireOne("proxy-id", "proxy-id-path", "in mode sidecar")
	case !isPlainID(id):
		l.refuse("proxy-id", "must be without white space and control characters")
	}
	if l.cfg.XDSServer.BindAddr == "" && l.isSet("xds-bind-port") {
		l.cfg.XDSServer.BindAddr = "127.0.0.1"
	}
	if l.cfg.DNSServer.BindPort != DNSDisabled && !isLoopback(l.cfg.DNSServer.BindAddr) {
		l.refuse("consul-dns-bind-addr", "must be a loopback address in mode sidecar")
	}
	if envoy := l.cfg.Envoy; envoy.ReadyBindAddr != "" && envoy.ReadyBindPort == 0 {
		l.warn("%s has no effect without -envoy-ready-bind-port", l.cfg.sources["envoy-ready-bind-address"])
	} else if envoy.ReadyBindAddr == "" && envoy.ReadyBindPort != 0 {
		l.warn("%s has no effect without -envoy-ready-bind-address", l.cfg.sources["envoy-ready-bind-port"])
	}
}

func (l *loader) validateDNSProxy() {
	if ns := l.cfg.Proxy.Namespace; ns != "" && ns != "default" {
		l.refuse("proxy-namespace", "must be default or unset in mode dns-proxy")
	}
	if l.cfg.DNSServer.BindPort == DNSDisabled {
		l.refuse("consul-dns-bind-port", "must be 0 or more in mode dns-proxy, which does nothing but DNS")
	}
}

func (l *loader) validateLifecycle() {
	taken := map[string]string{"/live": "", "/ready": "", "/status": "", "/loglevel": ""}
	for _, s := range []Setting{l.byFlag["graceful-shutdown-path"], l.byFlag["graceful-startup-path"]} {
		path := s.bind(l.cfg).String()
		if by, ok := taken[path]; ok && by == "" {
			l.refuse(s.Flag, "is a path that the lifecycle server has for itself")
		} else if ok {
			l.refuse(s.Flag, "is the same path as -"+by)
		}
		taken[path] = s.Flag
	}
}

// validatePorts finds two listeners in one place. Without it the second to bind
// would fail too, but if that is Envoy's, with a message that is hard to read.
func (l *loader) validatePorts() {
	c := l.cfg
	type listener struct {
		portFlag, addr string
		port           int
	}
	listeners := []listener{
		{"graceful-port", c.Lifecycle.Addr, c.Lifecycle.Port},
		{"telemetry-prom-merge-port", c.Telemetry.Prometheus.MergeBindAddr, c.Telemetry.Prometheus.MergePort},
		{"consul-dns-bind-port", c.DNSServer.BindAddr, c.DNSServer.BindPort},
	}
	if c.Mode == ModeSidecar {
		listeners = append(listeners,
			listener{"envoy-admin-bind-port", c.Envoy.AdminBindAddr, c.Envoy.AdminBindPort},
			listener{"envoy-ready-bind-port", c.Envoy.ReadyBindAddr, c.Envoy.ReadyBindPort},
			listener{"xds-bind-port", c.XDSServer.BindAddr, c.XDSServer.BindPort},
		)
	}
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if a.port > 0 && a.port == b.port && overlap(a.addr, b.addr) {
				l.refuse(a.portFlag, "is the same port as -"+b.portFlag)
			}
		}
	}
}

// overlap tells whether two listeners on these addresses cannot share a port. A
// wildcard address takes the port in both families: package net listens so.
func overlap(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX != nil || errY != nil {
		return false
	}
	return x == y || x.IsUnspecified() || y.IsUnspecified()
}
