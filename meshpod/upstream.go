// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Upstream is one destination that the pod reaches by a local port.
type Upstream struct {
	// Name is that of the service, or of the prepared query.
	Name          string
	PreparedQuery bool
	// Namespace, Partition, Peer and Datacenter are empty unless given; of the
	// last three at most one is.
	Namespace, Partition, Peer, Datacenter string
	// LocalPort is where Envoy listens, at LocalAddress, which is an IP address or
	// empty for 127.0.0.1.
	LocalPort    int
	LocalAddress string
	// MeshGateway is local, remote or none, or empty.
	MeshGateway string
}

// Variable is the beginning of the names of the variables that tell applications
// where the upstream is: the name, and the namespace and what else narrows it
// where they are given with dots, in upper case and with _ for everything that
// cannot be part of a variable's name.
func (u Upstream) Variable() string {
	parts := []string{u.Name}
	for _, part := range []string{u.Namespace, u.Partition, u.Peer, u.Datacenter} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		default:
			return '_'
		}
	}, strings.Join(parts, "_"))
	if name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}

// Host is the address at which the application finds the upstream.
func (u Upstream) Host() string {
	if u.LocalAddress == "" {
		return "127.0.0.1"
	}
	return u.LocalAddress
}

const preparedQueryPrefix = "prepared_query"

// upstreamForms are what an upstream may look like, for messages.
const upstreamForms = "must have one of the forms SERVICE[.NAMESPACE[.PARTITION]]:PORT[:DATACENTER], " +
	"SERVICE.svc[.NAMESPACE.ns][.PEER.peer|.PARTITION.ap|.DATACENTER.dc]:PORT, prepared_query:NAME:PORT"

// upstreams reads the list. As in consul-k8s, elements end at commas and white
// space.
func (r *reader) upstreams(p *Pod) {
	value, _ := r.text(AnnotationUpstreams)
	ports := map[string]string{}
	elements := strings.FieldsFunc(value, func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r' })
	if r.tooMany(AnnotationUpstreams, len(elements)) {
		return
	}
	for _, element := range elements {
		u, err := parseUpstream(element)
		if err != nil {
			r.problems.Errorf(AnnotationUpstreams, element, "%s", err)
			continue
		}
		at := netip.AddrPortFrom(netip.MustParseAddr(u.Host()), uint16(u.LocalPort)).String()
		if other, taken := ports[at]; taken {
			r.problems.Errorf(AnnotationUpstreams, element, "has the same local port as %q", other)
			continue
		}
		ports[at] = element
		p.Upstreams = append(p.Upstreams, u)
	}
	r.sameVariables(p.Upstreams)
}

// sameVariables warns of upstreams whose variables have the same names.
func (r *reader) sameVariables(all []Upstream) {
	first := map[string]Upstream{}
	for _, u := range all {
		if other, taken := first[u.Variable()]; taken {
			r.problems.Warnf(AnnotationUpstreams, u.Name, "gets no variables %s_CONNECT_SERVICE_HOST and _PORT: they are those of the upstream on port %d",
				u.Variable(), other.LocalPort)
			continue
		}
		first[u.Variable()] = u
	}
}

func parseUpstream(element string) (Upstream, error) {
	parts := strings.Split(element, ":")
	var u Upstream
	switch {
	case parts[0] == preparedQueryPrefix && len(parts) >= 3:
		u.PreparedQuery, u.Name = true, parts[1]
		parts = parts[1:]
		if !validServiceName(u.Name) {
			return u, fmt.Errorf("must name a prepared query of letters, digits, - and _: prepared_query:NAME:PORT")
		}
	case len(parts) < 2 || parts[0] == preparedQueryPrefix:
		return u, fmt.Errorf("%s", upstreamForms)
	default:
		if err := u.destination(parts[0]); err != nil {
			return u, err
		}
	}
	port, err := strconv.Atoi(parts[1])
	if err != nil || port < 1 || port > maxPort {
		return u, fmt.Errorf("must have a local port between 1 and %d, not %q", maxPort, parts[1])
	}
	u.LocalPort = port
	return u, u.options(parts[2:])
}

// options reads what follows the port: a datacenter, and key=value pairs.
func (u *Upstream) options(parts []string) error {
	seen := map[string]bool{}
	for i := 0; i < len(parts); i++ {
		key, value, isOption := strings.Cut(parts[i], "=")
		if !isOption {
			if i > 0 {
				return fmt.Errorf("%s", upstreamForms)
			}
			key, value = "datacenter", parts[i]
		}
		if seen[key] {
			return fmt.Errorf("has the option %s twice", key)
		}
		seen[key] = true
		if key == "local_bind_address" { // an IPv6 address has colons of its own
			for i+1 < len(parts) && !strings.Contains(parts[i+1], "=") {
				i++
				value += ":" + parts[i]
			}
		}
		if err := u.option(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (u *Upstream) option(key, value string) error {
	switch key {
	case "datacenter":
		switch {
		case u.Peer != "" || u.Datacenter != "":
			return fmt.Errorf("cannot have a datacenter and also %q", u.Peer+u.Datacenter)
		case u.PreparedQuery:
			return fmt.Errorf("cannot have a datacenter: a prepared query has its own")
		case !validServiceName(value):
			return fmt.Errorf("has a datacenter that is no name: %q", value)
		}
		u.Datacenter = value
	case "local_bind_address":
		ip, err := netip.ParseAddr(strings.Trim(value, "[]"))
		if err != nil || !ip.IsLoopback() {
			return fmt.Errorf("must have a loopback IP address as local_bind_address, not %q: others could use the pod's way into the mesh", value)
		}
		u.LocalAddress = ip.String()
	case "mesh_gateway_mode":
		if !slices.Contains([]string{"local", "remote", "none"}, value) {
			return fmt.Errorf("must have local, remote or none as mesh_gateway_mode, not %q", value)
		}
		u.MeshGateway = value
	case "destination_port":
		return fmt.Errorf("has destination_port, which needs services with several ports: those are Consul Enterprise's and not supported")
	default:
		return fmt.Errorf("has an unknown option %q: datacenter, local_bind_address and mesh_gateway_mode are allowed", key)
	}
	return nil
}

// destination reads what is before the port.
func (u *Upstream) destination(text string) error {
	pieces := strings.Split(text, ".")
	for _, piece := range pieces {
		if !validServiceName(piece) {
			return fmt.Errorf("%s; names have letters, digits, - and _", upstreamForms)
		}
	}
	if len(pieces) > 1 && pieces[1] == "svc" {
		return u.labelled(pieces)
	}
	if len(pieces) > 3 {
		return fmt.Errorf("%s", upstreamForms)
	}
	u.Name = pieces[0]
	if len(pieces) > 1 {
		u.Namespace = pieces[1]
	}
	if len(pieces) > 2 {
		u.Partition = pieces[2]
	}
	return nil
}

// labelled reads pairs of a name and what it is.
func (u *Upstream) labelled(pieces []string) error {
	u.Name = pieces[0]
	rest := pieces[2:]
	if len(rest) >= 2 && rest[1] == "ns" {
		u.Namespace, rest = rest[0], rest[2:]
	}
	switch {
	case len(rest) == 0:
		return nil
	case len(rest) == 2 && rest[1] == "peer":
		u.Peer = rest[0]
	case len(rest) == 2 && rest[1] == "ap":
		u.Partition = rest[0]
	case len(rest) == 2 && rest[1] == "dc":
		u.Datacenter = rest[0]
	default:
		return fmt.Errorf("%s", upstreamForms)
	}
	return nil
}
