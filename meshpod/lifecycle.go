// SPDX-License-Identifier: MPL-2.0

package meshpod

import "slices"

// maxSeconds bounds times: a day.
const maxSeconds = 86400

// lifecycle reads how the dataplane starts and ends.
func (r *reader) lifecycle(p *Pod) {
	d := r.defaults
	drain := r.boolean(annotationDrainListenersAlias, d.DrainListeners)
	p.Lifecycle = Lifecycle{
		Enabled:        r.boolean(AnnotationLifecycle, d.Lifecycle),
		DrainListeners: r.boolean(AnnotationDrainListeners, drain),
		ShutdownGrace:  r.number(AnnotationShutdownGrace, d.ShutdownGrace, 0, maxSeconds),
		StartupGrace:   r.number(AnnotationStartupGrace, d.StartupGrace, 0, maxSeconds),
		Port:           r.number(AnnotationGracefulPort, d.GracefulPort, minPort, maxPort-len(p.Services)+1),
		ShutdownPath:   r.urlPath(AnnotationShutdownPath, d.ShutdownPath),
		StartupPath:    r.urlPath(AnnotationStartupPath, d.StartupPath),
	}
	own := []string{"/live", "/ready", "/status", "/loglevel"}
	l := p.Lifecycle
	for _, path := range []struct{ name, value string }{
		{AnnotationShutdownPath, l.ShutdownPath}, {AnnotationStartupPath, l.StartupPath},
	} {
		if slices.Contains(own, path.value) {
			r.problems.Errorf(path.name, path.value, "is a path that the lifecycle port has for itself")
		}
	}
	if l.ShutdownPath == l.StartupPath {
		r.problems.Errorf(AnnotationStartupPath, l.StartupPath, "is the same path as that of %s", AnnotationShutdownPath)
	}
}

// probes reads how the kubelet looks at the sidecar.
func (r *reader) probes(p *Pod) {
	d := r.defaults
	p.Probes = Probes{
		ProxyHealthCheck: r.boolean(AnnotationProxyHealthCheck, d.ProxyHealthCheck),
		StartupFailure:   r.number(AnnotationStartupFailureSeconds, d.StartupFailure, 0, maxSeconds),
		LivenessFailure:  r.number(AnnotationLivenessFailureSeconds, d.LivenessFailure, 0, maxSeconds),
		InitialDelay:     r.number(AnnotationProbeInitialDelay, d.InitialDelay, 0, maxSeconds),
		Period:           r.number(AnnotationProbePeriod, d.Period, 1, maxSeconds),
		FailureThreshold: r.number(AnnotationProbeFailureThreshold, d.FailureThreshold, 1, maxSeconds),
		Timeout:          r.number(AnnotationProbeTimeout, d.Timeout, 1, maxSeconds),
	}
}
