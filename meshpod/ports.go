// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"cmp"
	"maps"

	"k8s.io/apimachinery/pkg/util/validation"
)

// claim is who binds a port in the pod, and the annotation that can change it.
type claim struct{ who, name string }

// ports refuses two listeners in one place: the application's, the dataplanes'
// and Envoys', and the upstreams'.
func (r *reader) ports(p *Pod) {
	taken := map[int]claim{}
	for _, s := range p.Services {
		for _, own := range p.claims(s) {
			if other, clash := taken[own.port]; clash {
				r.problems.Errorf(cmp.Or(own.name, other.name), itoa(own.port), "is the dataplane's %s, but also its %s", own.who, other.who)
				continue
			}
			taken[own.port] = own.claim
		}
	}
	dataplane := maps.Clone(taken)
	for _, c := range appContainers(r.pod) {
		// Nobody has looked yet how long a name is, and each of many ports or upstreams may ask for it.
		who := "port of container " + c.Name[:min(len(c.Name), validation.DNS1123LabelMaxLength)]
		for _, port := range c.Ports {
			n := int(port.ContainerPort)
			if by, clash := dataplane[n]; clash && isTCP(port) {
				r.problems.Errorf(who, itoa(n), "is the dataplane's %s, which needs it%s", by.who, changeable(by))
				continue
			}
			taken[n] = claim{who: who}
		}
	}
	r.targets(p, dataplane)
	for _, u := range p.Upstreams {
		if by, clash := taken[u.LocalPort]; clash {
			r.problems.Errorf(AnnotationUpstreams, u.Name+":"+itoa(u.LocalPort), "has a local port that is taken: %s", by.who)
		}
	}
}

// targets refuses to send requests for the application to the dataplane.
func (r *reader) targets(p *Pod, dataplane map[int]claim) {
	for _, s := range p.Services {
		if by, clash := dataplane[s.Port]; clash && s.Port > 0 {
			r.problems.Errorf(AnnotationServicePort, itoa(s.Port), "is the dataplane's own %s, not the application's", by.who)
		}
		if by, clash := dataplane[s.MetricsPort]; clash && s.MetricsPort > 0 {
			r.problems.Errorf(AnnotationServiceMetricsPort, itoa(s.MetricsPort), "is the dataplane's own %s: it would scrape itself", by.who)
		}
		for _, u := range p.Upstreams {
			if s.Port > 0 && s.Port == u.LocalPort {
				r.problems.Errorf(AnnotationServicePort, itoa(s.Port), "is also the local port of the upstream %s", u.Name)
			}
		}
	}
}

func changeable(c claim) string {
	if c.name == "" {
		return ""
	}
	return "; " + c.name + " can move it"
}

type portClaim struct {
	port int
	claim
}

// claims are the ports that one dataplane and its Envoy bind.
func (p *Pod) claims(s Service) []portClaim {
	out := []portClaim{
		{s.Ports.Public, claim{who: "public listener"}},
		{s.Ports.Admin, claim{who: "Envoy's admin interface"}},
		{s.Ports.Lifecycle, claim{who: "lifecycle port", name: AnnotationGracefulPort}},
		{s.Ports.Merge, claim{who: "port of merged metrics", name: AnnotationMergePort}},
	}
	if p.Probes.ProxyHealthCheck {
		out = append(out, portClaim{s.Ports.Ready, claim{who: "readiness port"}})
	}
	if p.Metrics.Enabled {
		out = append(out, portClaim{s.Ports.Scrape, claim{who: "Prometheus port", name: AnnotationScrapePort}})
	}
	return out
}
