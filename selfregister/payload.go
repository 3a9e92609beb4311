// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"maps"
)

const (
	// managedBy is the value of metaManagedBy.
	managedBy = "podplane"
	// metaSynthetic marks a node on which no agent runs, as consul-k8s does.
	metaSynthetic = "synthetic-node"
	// checkType marks our checks in the catalog, so that those that a changed file
	// has no more can be told from those of others.
	checkType = "podplane"
)

// registration is the body of a request to register.
// https://developer.hashicorp.com/consul/api-docs/catalog#register-entity
type registration struct {
	Node     string
	Address  string
	NodeMeta map[string]string
	// SkipNodeUpdate leaves a node alone that is there. Without it the token would
	// need to be allowed to write the node.
	SkipNodeUpdate bool
	Service        instance
	Checks         []catalogCheck
	Partition      string `json:",omitempty"`
}

// instance is a service or its proxy in the catalog.
type instance struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Address           string
	Port              int    `json:",omitempty"`
	SocketPath        string `json:",omitempty"`
	Tags              []string
	Meta              map[string]string
	TaggedAddresses   map[string]TaggedAddress `json:",omitempty"`
	Weights           *Weights                 `json:",omitempty"`
	Locality          *Locality                `json:",omitempty"`
	EnableTagOverride bool                     `json:",omitempty"`
	Proxy             *Proxy                   `json:",omitempty"`
	Namespace         string                   `json:",omitempty"`
	Partition         string                   `json:",omitempty"`
}

type catalogCheck struct {
	Node      string
	CheckID   string
	Name      string
	Notes     string `json:",omitempty"`
	Type      string
	Status    string
	Output    string
	ServiceID string
	Namespace string `json:",omitempty"`
	Partition string `json:",omitempty"`
}

// registrations are the service and its proxy, in the order in which they have
// to be written: a proxy is of a service.
func (r *Registrar) registrations(address string, skipNode bool) []registration {
	d := r.cfg.Definition
	service := instance{
		ID: d.ID, Service: d.Name, Address: d.Address, Port: d.Port, SocketPath: d.SocketPath, Tags: d.Tags, Meta: r.marked(d.Meta),
		TaggedAddresses: d.TaggedAddresses, Weights: d.Weights, Locality: d.Locality, EnableTagOverride: d.EnableTagOverride,
	}
	s := d.Sidecar
	proxy := instance{
		Kind: "connect-proxy", ID: d.ProxyID(), Service: s.Name, Address: s.Address, Port: s.Port, Tags: s.Tags, Meta: r.marked(s.Meta),
		TaggedAddresses: s.TaggedAddresses, Weights: s.Weights, Locality: s.Locality, Proxy: &s.Proxy,
	}
	if proxy.Address == "" {
		proxy.Address = d.Address
	}
	var all []registration
	for _, i := range []instance{service, proxy} {
		if i.Address == "" {
			i.Address = address
		}
		i.Namespace, i.Partition = r.cfg.Namespace, r.cfg.Partition
		all = append(all, registration{
			Node: r.cfg.Node, Address: address, SkipNodeUpdate: skipNode, Partition: r.cfg.Partition,
			NodeMeta: map[string]string{metaManagedBy: managedBy, metaSynthetic: "true"},
			Service:  i, Checks: r.checksOf(i.ID),
		})
	}
	return all
}

func (r *Registrar) marked(meta map[string]string) map[string]string {
	out := map[string]string{metaManagedBy: managedBy, metaInstance: r.cfg.Instance}
	maps.Copy(out, meta)
	return out
}

// checksOf are the checks of one of the two with what is known of them now.
func (r *Registrar) checksOf(serviceID string) []catalogCheck {
	var all []catalogCheck
	for _, c := range r.board.snapshot() {
		if c.ServiceID == serviceID {
			all = append(all, catalogCheck{
				Node: r.cfg.Node, CheckID: c.ID, Name: c.Name, Notes: c.notes, Type: checkType, Status: c.Status, Output: c.Output,
				ServiceID: c.ServiceID, Namespace: r.cfg.Namespace, Partition: r.cfg.Partition,
			})
		}
	}
	return all
}
