// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"time"
)

const maxPort = 65535

// wholeFile reads a file with one service.
func (d *decoder) wholeFile(root element) *Definition {
	if root.kind != objectKind {
		d.fail(root.line, "file", "must hold an object with the key service, not %s", root.describe())
		return nil
	}
	definition, found := &Definition{}, 0
	take := d.each(func(path string, e element) {
		if found++; found == 2 {
			d.fail(e.line, path, "is a second service: podplane registers one, with its sidecar proxy")
		}
		if found == 1 {
			d.service(definition, path, e)
		}
	})
	d.fields("", root, map[string]field{"service": take, "services": take})
	if found == 0 && len(d.errs) == 0 {
		d.fail(1, "service", "is missing: the file must hold one service definition under this key")
	}
	return definition
}

func (d *decoder) service(s *Definition, path string, e element) {
	sidecar := false
	take := d.checks(&s.Checks)
	d.fields(path, e, map[string]field{
		"name": d.text(&s.Name), "id": d.text(&s.ID), "address": d.text(&s.Address), "socket_path": d.text(&s.SocketPath),
		"port": d.number(&s.Port, 0, maxPort), "tags": d.texts(&s.Tags), "meta": d.textMap(&s.Meta),
		"tagged_addresses": d.tagged(&s.TaggedAddresses), "weights": d.weights(&s.Weights), "locality": d.locality(&s.Locality),
		"enable_tag_override": d.flag(&s.EnableTagOverride),
		"namespace":           d.text(&s.Namespace), "partition": d.text(&s.Partition),
		"check": take, "checks": take,
		"kind":  d.refuse("podplane registers a service and its sidecar proxy; gateways register elsewhere"),
		"proxy": d.refuse("the proxy of a service is in connect.sidecar_service.proxy"),
		"token": d.refuse("podplane uses the token of its own session, see -credential-type; keep tokens out of this file"),
		"connect": d.object(func(path string, e element) {
			d.fields(path, e, map[string]field{
				"native": d.refuse("an application that speaks the mesh's TLS itself needs no sidecar"),
				"sidecar_service": d.object(func(path string, e element) {
					sidecar = true
					d.sidecar(&s.Sidecar, path, e)
				}),
			})
		}),
	})
	d.checkService(s, path, e, sidecar)
}

func (d *decoder) sidecar(s *Sidecar, path string, e element) {
	take := d.checks(&s.Checks)
	const parent = "it follows from the service"
	d.fields(path, e, map[string]field{
		"name": d.text(&s.Name), "address": d.text(&s.Address), "port": d.number(&s.Port, 1, maxPort),
		"tags": d.texts(&s.Tags), "meta": d.textMap(&s.Meta), "tagged_addresses": d.tagged(&s.TaggedAddresses),
		"weights": d.weights(&s.Weights), "locality": d.locality(&s.Locality), "check": take, "checks": take,
		"id": d.refuse(parent), "namespace": d.refuse(parent), "partition": d.refuse(parent), "kind": d.refuse(parent),
		"token": d.refuse("podplane uses the token of its own session"),
		"proxy": d.object(func(path string, e element) { d.proxy(&s.Proxy, path, e) }),
	})
}

func (d *decoder) proxy(p *Proxy, path string, e element) {
	const parent = "it follows from the service"
	d.fields(path, e, map[string]field{
		"local_service_address": d.text(&p.LocalServiceAddress), "local_service_port": d.number(&p.LocalServicePort, 1, maxPort),
		"local_service_socket_path": d.text(&p.LocalServiceSocketPath), "mode": d.text(&p.Mode), "config": d.free(&p.Config),
		"mesh_gateway": d.meshGateway(&p.MeshGateway), "expose": d.expose(&p.Expose),
		"destination_service_name": d.refuse(parent), "destination_service_id": d.refuse(parent),
		"transparent_proxy": d.object(func(path string, e element) {
			p.TransparentProxy = &TransparentProxy{}
			d.fields(path, e, map[string]field{
				"outbound_listener_port": d.number(&p.TransparentProxy.OutboundListenerPort, 0, maxPort),
				"dialed_directly":        d.flag(&p.TransparentProxy.DialedDirectly),
			})
		}),
		"upstreams": d.each(func(path string, e element) {
			var u Upstream
			d.upstream(&u, path, e)
			p.Upstreams = append(p.Upstreams, u)
		}),
		"envoy_extensions": d.each(func(path string, e element) {
			var x EnvoyExtension
			d.fields(path, e, map[string]field{
				"name": d.text(&x.Name), "required": d.flag(&x.Required), "arguments": d.free(&x.Arguments),
				"consul_version": d.text(&x.ConsulVersion), "envoy_version": d.text(&x.EnvoyVersion),
			})
			p.EnvoyExtensions = append(p.EnvoyExtensions, x)
		}),
	})
}

func (d *decoder) upstream(u *Upstream, path string, e element) {
	d.fields(path, e, map[string]field{
		"destination_type": d.text(&u.DestinationType), "destination_name": d.text(&u.DestinationName),
		"destination_namespace": d.text(&u.DestinationNamespace), "destination_partition": d.text(&u.DestinationPartition),
		"destination_peer": d.text(&u.DestinationPeer), "datacenter": d.text(&u.Datacenter),
		"local_bind_address": d.text(&u.LocalBindAddress), "local_bind_port": d.number(&u.LocalBindPort, 1, maxPort),
		"local_bind_socket_path": d.text(&u.LocalBindSocketPath), "local_bind_socket_mode": d.text(&u.LocalBindSocketMode),
		"config": d.free(&u.Config), "mesh_gateway": d.meshGateway(&u.MeshGateway),
	})
	if u.DestinationName == "" {
		d.fail(e.line, join(path, "destination_name"), "is required")
	}
	if u.LocalBindPort == 0 && u.LocalBindSocketPath == "" {
		d.fail(e.line, join(path, "local_bind_port"), "is required, or local_bind_socket_path")
	}
}

func (d *decoder) meshGateway(p **MeshGateway) field {
	return d.object(func(path string, e element) {
		*p = &MeshGateway{}
		d.fields(path, e, map[string]field{"mode": d.text(&(*p).Mode)})
	})
}

func (d *decoder) expose(p **Expose) field {
	return d.object(func(path string, e element) {
		*p = &Expose{}
		d.fields(path, e, map[string]field{
			"checks": d.refuse("podplane makes the health checks itself, past the proxy; expose paths for others"),
			"paths": d.each(func(path string, e element) {
				var x ExposedPath
				d.fields(path, e, map[string]field{
					"path": d.text(&x.Path), "protocol": d.text(&x.Protocol),
					"listener_port":   d.number(&x.ListenerPort, 1, maxPort),
					"local_path_port": d.number(&x.LocalPathPort, 1, maxPort),
				})
				(*p).Paths = append((*p).Paths, x)
			}),
		})
	})
}

func (d *decoder) tagged(p *map[string]TaggedAddress) field {
	return d.object(func(path string, e element) {
		*p = map[string]TaggedAddress{}
		for _, m := range e.members {
			d.object(func(path string, e element) {
				var a TaggedAddress
				d.fields(path, e, map[string]field{"address": d.text(&a.Address), "port": d.number(&a.Port, 0, maxPort)})
				(*p)[m.key] = a
			})(join(path, m.key), []member{m})
		}
	})
}

func (d *decoder) weights(p **Weights) field {
	return d.object(func(path string, e element) {
		*p = &Weights{Passing: 1, Warning: 1}
		d.fields(path, e, map[string]field{
			"passing": d.number(&(*p).Passing, 1, maxPort), "warning": d.number(&(*p).Warning, 0, maxPort),
		})
	})
}

func (d *decoder) locality(p **Locality) field {
	return d.object(func(path string, e element) {
		*p = &Locality{}
		d.fields(path, e, map[string]field{"region": d.text(&(*p).Region), "zone": d.text(&(*p).Zone)})
	})
}

func (d *decoder) checks(p *[]Check) field {
	return d.each(func(path string, e element) {
		var c Check
		d.check(&c, path, e)
		*p = append(*p, c)
	})
}

func (d *decoder) check(c *Check, path string, e element) {
	const agents = "podplane makes HTTP and TCP checks; use http or tcp"
	fields := map[string]field{
		"id": d.text(&c.ID), "check_id": d.text(&c.ID), "name": d.text(&c.Name), "notes": d.text(&c.Notes),
		"http": d.text(&c.HTTP), "method": d.text(&c.Method), "header": d.header(&c.Header), "body": d.text(&c.Body),
		"disable_redirects": d.flag(&c.DisableRedirects), "tcp": d.text(&c.TCP), "tcp_use_tls": d.flag(&c.TCPUseTLS),
		"tls_server_name": d.text(&c.TLSServerName), "tls_skip_verify": d.flag(&c.TLSSkipVerify),
		"interval": d.span(&c.Interval, time.Second), "timeout": d.span(&c.Timeout, time.Millisecond),
		"status":                   d.text(&c.Status),
		"success_before_passing":   d.number(&c.SuccessBeforePassing, 0, 1000),
		"failures_before_warning":  d.number(&c.FailuresBeforeWarning, 0, 1000),
		"failures_before_critical": d.number(&c.FailuresBeforeCritical, 0, 1000),
		"deregister_critical_service_after": d.refuse("podplane deregisters the service when it ends, and at its next " +
			"start what an earlier one has left behind"),
	}
	for _, key := range []string{
		"ttl", "script", "args", "shell", "docker_container_id", "udp", "grpc", "grpc_use_tls", "h2ping", "h2ping_use_tls",
		"os_service", "alias_node", "alias_service", "output_max_size", "service_id",
	} {
		fields[key] = d.refuse(agents)
	}
	d.fields(path, e, fields)
	d.checkCheck(c, path, e)
}

// header takes an object of lists of strings.
func (d *decoder) header(p *map[string][]string) field {
	return d.object(func(path string, e element) {
		*p = map[string][]string{}
		for _, m := range e.members {
			var values []string
			d.texts(&values)(join(path, m.key), []member{m})
			(*p)[m.key] = values
		}
	})
}
