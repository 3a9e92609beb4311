// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

// listener is envoy.config.listener.v3.Listener. Its traffic direction stays unspecified, so that draining inbound
// listeners leaves probes and scrapes alone until Envoy ends.
type listener struct {
	Name         string        `json:"name"`
	Address      address       `json:"address"`
	FilterChains []filterChain `json:"filter_chains"`
}

type filterChain struct {
	Filters         []extension `json:"filters"`
	TransportSocket *extension  `json:"transport_socket,omitempty"`
}

type httpConnectionManager struct {
	Type        string             `json:"@type"`
	StatPrefix  string             `json:"stat_prefix"`
	CodecType   string             `json:"codec_type"`
	RouteConfig routeConfiguration `json:"route_config"`
	HTTPFilters []extension        `json:"http_filters"`
}

type routeConfiguration struct {
	Name         string        `json:"name"`
	VirtualHosts []virtualHost `json:"virtual_hosts"`
}

type virtualHost struct {
	Name    string   `json:"name"`
	Domains []string `json:"domains"`
	Routes  []route  `json:"routes"`
}

type route struct {
	Match          routeMatch      `json:"match"`
	Route          *routeAction    `json:"route,omitempty"`
	DirectResponse *directResponse `json:"direct_response,omitempty"`
}

// routeMatch has exactly one field set. Neither looks at the query, which is passed on.
type routeMatch struct {
	Path   string `json:"path,omitempty"`
	Prefix string `json:"prefix,omitempty"`
}

type routeAction struct {
	Cluster       string `json:"cluster"`
	PrefixRewrite string `json:"prefix_rewrite"`
}

type directResponse struct {
	Status int `json:"status"`
}

func (l staticListener) proto() listener {
	const routeName = "self_admin"
	manager := httpConnectionManager{
		Type:       typeURL("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
		StatPrefix: l.statPrefix,
		CodecType:  "HTTP1",
		RouteConfig: routeConfiguration{
			Name: routeName + "_route",
			VirtualHosts: []virtualHost{{
				Name:    routeName,
				Domains: []string{"*"},
				Routes: []route{
					{Match: l.match, Route: &routeAction{Cluster: l.cluster, PrefixRewrite: l.rewrite}},
					{Match: routeMatch{Prefix: "/"}, DirectResponse: &directResponse{Status: 404}},
				},
			}},
		},
		HTTPFilters: []extension{{
			Name:        "envoy.filters.http.router",
			TypedConfig: emptyConfig{Type: typeURL("envoy.extensions.filters.http.router.v3.Router")},
		}},
	}
	return listener{
		Name:    l.name,
		Address: socket(l.bind),
		FilterChains: []filterChain{{
			Filters: []extension{{
				Name:        "envoy.filters.network.http_connection_manager",
				TypedConfig: manager,
			}},
			TransportSocket: l.tls,
		}},
	}
}
