// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

// node is envoy.config.core.v3.Node. Envoy adds its user agent and build version by itself.
type node struct {
	ID       string            `json:"id"`
	Cluster  string            `json:"cluster"`
	Metadata map[string]string `json:"metadata"`
}

// newNode identifies the proxy to Consul: the server looks up node.id on the catalog node of metadata.node_name.
func newNode(proxyID string, p Params) node {
	n := node{
		ID:      proxyID,
		Cluster: p.source(),
		Metadata: map[string]string{
			"namespace": p.namespace(),
			"partition": p.partition(),
		},
	}
	if p.NodeName != "" {
		n.Metadata["node_name"] = p.NodeName
	}
	return n
}

// layeredRuntime is envoy.config.bootstrap.v3.LayeredRuntime.
type layeredRuntime struct {
	Layers []runtimeLayer `json:"layers"`
}

type runtimeLayer struct {
	Name        string         `json:"name"`
	StaticLayer map[string]any `json:"static_layer"`
}

// maxRegexProgramSize is in RE2 instructions. Envoy's default of 100 refuses regular expressions that Consul generates
// for intentions with many sources.
const maxRegexProgramSize = 1 << 20

func newLayeredRuntime() layeredRuntime {
	return layeredRuntime{Layers: []runtimeLayer{{
		Name:        "base",
		StaticLayer: map[string]any{"re2.max_program_size.error_level": maxRegexProgramSize},
	}}}
}
