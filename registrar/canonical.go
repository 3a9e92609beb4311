// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/hashicorp/consul/api"
)

// digest is the same for two registrations of a service exactly when the catalog would hold the same for both.
type digest [sha256.Size]byte

// unwritten is the digest of what the catalog may or may not hold: it equals no other.
var unwritten digest //nolint:gochecknoglobals // the zero value, named

// virtualAddress begins the names of the addresses that Consul gives to the services of the mesh.
const virtualAddress = "consul-virtual"

// serviceDigest reduces a service to what was asked for: what only Consul writes (indexes, virtual addresses), and what it fills in when
// nothing was asked for (weights, default tenancy), does not count. So a service read back from the catalog has the
// digest of the one that was written, and a restart finds what it wrote before.
func serviceDigest(service *api.AgentService) (digest, error) {
	s := *service
	s.CreateIndex, s.ModifyIndex, s.ContentHash, s.Datacenter, s.PeerName = 0, 0, "", "", ""
	if s.Weights == (api.AgentWeights{Passing: 1, Warning: 1}) {
		s.Weights = api.AgentWeights{}
	}
	s.TaggedAddresses = maps.Clone(s.TaggedAddresses)
	maps.DeleteFunc(s.TaggedAddresses, func(name string, _ api.ServiceAddress) bool { return strings.HasPrefix(name, virtualAddress) })
	s.Namespace, s.Partition = tenancy(s.Namespace), tenancy(s.Partition)
	if s.Connect != nil && !s.Connect.Native && s.Connect.SidecarService == nil {
		s.Connect = nil
	}
	data, err := json.Marshal(&s)
	if err != nil {
		return unwritten, fmt.Errorf("encode service %s: %w", s.ID, err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return unwritten, fmt.Errorf("encode service %s: %w", s.ID, err)
	}
	if data, err = json.Marshal(prune(tree)); err != nil {
		return unwritten, fmt.Errorf("encode service %s: %w", s.ID, err)
	}
	return sha256.Sum256(data), nil
}

// tenancy writes Consul Enterprise's name for "none given" as none given.
func tenancy(name string) string {
	if name == "default" {
		return ""
	}
	return name
}

// opaque are the maps whose content belongs to the user: there, false is not the same as absent.
var opaque = map[string]bool{"Config": true, "Meta": true}

// prune drops what is empty, at any depth but inside opaque maps: Consul answers with empty objects and defaults where
// nothing was sent. An upstream's defaults are dropped likewise.
func prune(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if v["LocalBindPort"] != nil || v["DestinationType"] != nil {
			dropUpstreamDefaults(v)
		}
		for key, item := range v {
			if m, ok := item.(map[string]any); ok && opaque[key] && len(m) > 0 {
				continue
			}
			if item = prune(item); item == nil {
				delete(v, key)
			} else {
				v[key] = item
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = prune(v[i])
		}
	case string:
		if v == "" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return value
}

func dropUpstreamDefaults(upstream map[string]any) {
	for key, value := range map[string]string{
		"DestinationType": string(api.UpstreamDestTypeService), "DestinationNamespace": "default",
		"DestinationPartition": "default",
	} {
		if upstream[key] == value {
			delete(upstream, key)
		}
	}
}
