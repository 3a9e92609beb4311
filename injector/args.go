// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"strconv"
	"strings"

	"podplane/meshpod"
)

// literal keeps the kubelet from reading $(NAME) as a variable:
// https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// flags collects arguments. Each is one word with its value, so that no value can
// be taken for a flag.
type flags []string

func (f *flags) text(name, value string) {
	if value != "" {
		*f = append(*f, "-"+name+"="+literal(value))
	}
}

func (f *flags) number(name string, value int) { f.text(name, strconv.Itoa(value)) }

// on writes a switch that is on.
func (f *flags) on(name string, is bool) {
	if is {
		*f = append(*f, "-"+name)
	}
}

// arguments are those of one service's dataplane. They do not depend on where it
// runs: that is in its environment.
func (m *mutation) arguments(s meshpod.Service) []string {
	var f flags
	m.consulArguments(&f)
	m.identityArguments(&f, s)
	m.loginArguments(&f, s)
	f.text("log-level", m.cfg.LogLevel)
	f.on("log-json", m.cfg.LogJSON)
	f.number("envoy-concurrency", m.mesh.Sidecar.Concurrency)
	if s.Index > 0 {
		f.number("envoy-admin-bind-port", s.Ports.Admin)
	}
	if m.mesh.Probes.ProxyHealthCheck {
		f.number("envoy-ready-bind-port", s.Ports.Ready)
	}
	m.lifecycleArguments(&f, s)
	m.metricsArguments(&f, s)
	return append(f, m.envoyArguments(s)...)
}

func (m *mutation) consulArguments(f *flags) {
	c := m.cfg.Consul
	f.text("addresses", c.Addresses)
	f.number("grpc-port", c.GRPCPort)
	f.on("server-watch-disabled", c.ServerWatchDisabled)
	if c.TLSDisabled {
		f.on("tls-disabled", true)
		return
	}
	f.on("tls-insecure-skip-verify", c.TLSSkipVerify)
	f.text("tls-server-name", c.TLSServerName)
	if m.hasCA() {
		f.text("ca-certs", consulPath+"/"+fileCA)
	}
}

func (m *mutation) identityArguments(f *flags, s meshpod.Service) {
	prefix := "proxy"
	if m.cfg.Compat { // names that every consul-dataplane knows
		prefix = "service"
		f.text("proxy-service-id-path", m.idFile(s))
	}
	f.text(prefix+"-namespace", m.cfg.Destination.For(m.namespace))
	f.text(prefix+"-partition", m.cfg.Partition)
}

func (m *mutation) loginArguments(f *flags, s meshpod.Service) {
	if m.cfg.Login.AuthMethod == "" {
		return
	}
	f.text("credential-type", "login")
	f.text("login-auth-method", m.cfg.Login.AuthMethod)
	f.text("login-bearer-token-path", m.tokenFile(s))
	f.text("login-namespace", m.cfg.Destination.LoginFor(m.namespace))
	f.text("login-partition", m.cfg.Partition)
}

func (m *mutation) lifecycleArguments(f *flags, s meshpod.Service) {
	l := m.mesh.Lifecycle
	f.number("graceful-port", s.Ports.Lifecycle)
	if l.Enabled {
		f.on("shutdown-drain-listeners", l.DrainListeners)
		f.number("shutdown-grace-period-seconds", m.shutdownGrace())
		f.text("graceful-shutdown-path", l.ShutdownPath)
		f.number("startup-grace-period-seconds", l.StartupGrace)
		f.text("graceful-startup-path", l.StartupPath)
	}
	if m.cfg.Compat {
		return
	}
	if seconds := m.pod.Spec.TerminationGracePeriodSeconds; seconds != nil && *seconds > 0 {
		f.text("termination-grace-period-seconds", strconv.FormatInt(*seconds, 10))
	}
	if m.native {
		// It is told to end when the application has: nothing but what is in flight is worth waiting for.
		f.text("shutdown-when-idle", "always")
	}
}

// endSeconds is what a dataplane keeps of the pod's time to end for Envoy's end
// and its own.
const endSeconds = 3

// shutdownGrace is the dataplane's grace period. A default that does not fit into
// the pod's, as one of 30 s into Kubernetes' 30 s, is made to fit here: each
// dataplane would do it itself, and warn of what nobody has asked for.
func (m *mutation) shutdownGrace() int {
	grace, whole := m.mesh.Lifecycle.ShutdownGrace, m.pod.Spec.TerminationGracePeriodSeconds
	if m.cfg.Compat || whole == nil || *whole == 0 || m.pod.Annotations[meshpod.AnnotationShutdownGrace] != "" {
		return grace
	}
	return min(grace, int(max(0, *whole-endSeconds)))
}

func (m *mutation) metricsArguments(f *flags, s meshpod.Service) {
	if s.Index > 0 || m.mesh.Metrics.Enabled {
		f.number("telemetry-prom-merge-port", s.Ports.Merge)
	}
	p := m.mesh.Metrics
	if !p.Enabled {
		return
	}
	f.text("telemetry-prom-scrape-path", p.ScrapePath)
	if s.MetricsPort > 0 {
		f.text("telemetry-prom-service-metrics-url", "http://127.0.0.1:"+strconv.Itoa(s.MetricsPort)+p.ServicePath)
	}
	f.text("telemetry-prom-ca-certs-file", p.CAFile)
	f.text("telemetry-prom-ca-certs-path", p.CAPath)
	f.text("telemetry-prom-cert-file", p.CertFile)
	f.text("telemetry-prom-key-file", p.KeyFile)
}

// envoyArguments are what Envoy is to be told as well.
func (m *mutation) envoyArguments(s meshpod.Service) []string {
	var out []string
	if m.cfg.Compat && s.Index > 0 { // Envoys in one pod share memory by this number
		out = append(out, "--base-id", strconv.Itoa(s.Index))
	}
	for _, arg := range m.mesh.Sidecar.ExtraArgs {
		out = append(out, literal(arg))
	}
	if len(out) == 0 {
		return nil
	}
	return append([]string{"--"}, out...)
}
