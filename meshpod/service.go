// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"slices"
	"strings"
)

// The ports of the first service's dataplane, as in consul-k8s.
const (
	portPublic    = 20000
	portAdmin     = 19000
	portLifecycle = 20600
	portReady     = 21000
	portMerge     = 20100
	portScrape    = 20200
)

// MaxServices is how many services a pod can be. The ports of each kind are 100
// apart.
const MaxServices = 32

const defaultServiceAccount = "default"

// maxServiceName is what fits into Consul's names with some room for suffixes.
const maxServiceName = 200

// validServiceName tells whether Consul takes it for a service of the mesh: a
// name with a dot could be read as another one's parts.
func validServiceName(name string) bool {
	if name == "" || len(name) > maxServiceName || strings.Trim(name, "-_") != name {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// services reads what the pod is in the mesh.
func (r *reader) services(p *Pod) {
	names := r.list(AnnotationService)
	seen := map[string]bool{}
	for _, name := range names {
		switch {
		case !validServiceName(name):
			r.problems.Errorf(AnnotationService, name, "must be a service name of letters, digits, - and _, or several with commas between")
		case seen[strings.ToLower(name)]:
			r.problems.Errorf(AnnotationService, name, "is named twice")
		}
		seen[strings.ToLower(name)] = true
	}
	if len(names) > MaxServices {
		r.problems.Errorf(AnnotationService, itoa(len(names))+" services", "are too many: at most %d can be in one pod", MaxServices)
		names = names[:MaxServices]
	}
	if len(names) == 0 {
		names = []string{""}
	}
	ports := r.servicePorts(len(names))
	for i, name := range names {
		p.Services = append(p.Services, Service{Index: i, Name: name, Port: ports[i]})
	}
	if p.IDForm == IDCompat && p.NameOf(p.Services[0], "") == "" {
		r.problems.Errorf(AnnotationService, "", "must name the service: with IDs in the form %q the name must be known when the pod is created, "+
			"and the ServiceAccount %q does not give one", IDCompat, p.ServiceAccount)
	}
}

// servicePorts are the ports of n services; 0 where a service has none.
func (r *reader) servicePorts(n int) []int {
	given := r.list(AnnotationServicePort)
	if n == 1 {
		return []int{r.onePort(given)}
	}
	if _, ok := r.text(AnnotationServiceDefaultPort); ok {
		r.problems.Errorf(AnnotationServiceDefaultPort, r.pod.Annotations[AnnotationServiceDefaultPort],
			"is for a pod with one service: each of several has one port")
	}
	ports := make([]int, n)
	if len(given) != n {
		r.problems.Errorf(AnnotationServicePort, strings.Join(given, ","), "must have one port for each of the %d services of %s, in the same order", n, AnnotationService)
		return ports
	}
	seen := map[int]bool{}
	for i, value := range given {
		ports[i] = r.port(AnnotationServicePort, value)
		if ports[i] > 0 && seen[ports[i]] {
			r.problems.Errorf(AnnotationServicePort, value, "is the port of two services")
		}
		seen[ports[i]] = true
	}
	return ports
}

// onePort is the port of a pod's only service: of several ports the default one,
// because without Consul Enterprise a service has one.
func (r *reader) onePort(given []string) int {
	var ports []int
	for _, value := range given {
		ports = append(ports, r.port(AnnotationServicePort, value))
	}
	if len(given) == 0 {
		ports = firstPorts(r)
	}
	value, ok := r.text(AnnotationServiceDefaultPort)
	switch {
	case ok:
		chosen := r.port(AnnotationServiceDefaultPort, value)
		if slices.Contains(ports, chosen) {
			return chosen
		}
		if chosen > 0 {
			r.problems.Errorf(AnnotationServiceDefaultPort, value, "is none of the service's ports")
		}
		return 0
	case len(ports) == 0:
		return 0
	case len(given) > 1:
		r.problems.Warnf(AnnotationServicePort, strings.Join(given, ","), "names several ports of one service: without Consul Enterprise only %d is registered; "+
			"for one service per port name as many in %s", ports[0], AnnotationService)
	}
	return ports[0]
}

// firstPorts are the TCP ports of the first container that is the pod's own.
func firstPorts(r *reader) []int {
	var ports []int
	for _, c := range appContainers(r.pod) {
		for _, p := range c.Ports {
			if isTCP(p) && p.ContainerPort > 0 {
				ports = append(ports, int(p.ContainerPort))
			}
		}
		if len(ports) > 0 {
			break
		}
	}
	return ports
}

// bind gives every service the ports of its dataplane.
func (p *Pod) bind() {
	for i := range p.Services {
		p.Services[i].Ports = Ports{
			Public: portPublic + i, Admin: portAdmin + i, Ready: portReady + i,
			Lifecycle: p.Lifecycle.Port + i, Merge: p.Metrics.MergePort + i, Scrape: p.Metrics.ScrapePort + i,
		}
	}
}
