// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"podplane/meshpod"
)

// readyPeriod is the time between looks at a dataplane that runs, in seconds.
// What fails for longer than two of them is not ready.
const readyPeriod = 5

// probes says how the kubelet looks at a dataplane. It asks Envoy over the network: a
// process in the container for each look would cost more than the look, in every
// pod of a node. The lifecycle port could say more, but it is on loopback,
// because it can end the pod.
func (m *mutation) probes(c *corev1.Container, s meshpod.Service) {
	p := m.mesh.Probes
	handler := m.handler(s)
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler: handler, InitialDelaySeconds: 1, PeriodSeconds: readyPeriod, TimeoutSeconds: readyPeriod, FailureThreshold: 3,
	}
	if p.LivenessFailure > 0 {
		c.LivenessProbe = each(handler, p.LivenessFailure)
	}
	switch {
	case p.StartupFailure > 0:
		c.StartupProbe = each(m.startHandler(s), p.StartupFailure)
	case m.native:
		c.StartupProbe = &corev1.Probe{
			ProbeHandler:        m.startHandler(s),
			InitialDelaySeconds: int32(p.InitialDelay), PeriodSeconds: int32(p.Period),
			TimeoutSeconds: int32(p.Timeout), FailureThreshold: int32(p.FailureThreshold),
		}
	}
}

// each looks every second, for as many seconds as the dataplane may fail.
func each(h corev1.ProbeHandler, seconds int) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: h, PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: int32(seconds)}
}

func (m *mutation) handler(s meshpod.Service) corev1.ProbeHandler {
	if m.mesh.Probes.ProxyHealthCheck {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/ready", Port: intstr.FromInt32(int32(s.Ports.Ready)), Scheme: corev1.URISchemeHTTP,
		}}
	}
	return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(s.Ports.Public))}}
}

// startHandler says when other containers may start. That the public listener is
// bound says nothing of upstreams, so without the /ready listener it takes a
// process, for as long as the start lasts.
func (m *mutation) startHandler(s meshpod.Service) corev1.ProbeHandler {
	if m.mesh.Probes.ProxyHealthCheck || !m.native {
		return m.handler(s)
	}
	program := programPodplane
	if m.cfg.Compat {
		program = programDataplane
	}
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{
		program, "-check-proxy-health", "-envoy-admin-bind-port=" + strconv.Itoa(s.Ports.Admin),
	}}}
}

// startSeconds is for how long a start may hold up the other containers: as long
// as a native sidecar's start-up probe may fail.
func (m *mutation) startSeconds() int {
	p := m.mesh.Probes
	if p.StartupFailure > 0 {
		return p.StartupFailure
	}
	return p.InitialDelay + p.FailureThreshold*p.Period
}
