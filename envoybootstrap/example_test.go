// SPDX-License-Identifier: MPL-2.0

package envoybootstrap_test

import (
	"encoding/json"
	"fmt"

	"podplane/envoybootstrap"
)

func ExampleBuild() {
	bootstrap, err := envoybootstrap.Build(envoybootstrap.Config{
		ProxyID: "web-sidecar-proxy",
		Admin:   envoybootstrap.Address{Host: "127.0.0.1", Port: 19000},
		XDS:     envoybootstrap.XDS{Address: "/run/podplane/xds.sock"},
	}, envoybootstrap.Params{
		Identity: "web",
		NodeName: "node-1",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var b struct {
		Node json.RawMessage `json:"node"`
	}
	if err := json.Unmarshal(bootstrap, &b); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(b.Node))
	// Output: {"id":"web-sidecar-proxy","cluster":"web","metadata":{"namespace":"default","node_name":"node-1","partition":"default"}}
}

func ExampleBuild_badKey() {
	_, err := envoybootstrap.Build(envoybootstrap.Config{
		ProxyID:          "web-sidecar-proxy",
		Admin:            envoybootstrap.Address{Host: "127.0.0.1", Port: 19000},
		XDS:              envoybootstrap.XDS{Address: "@podplane"},
		UseCentralConfig: true,
	}, envoybootstrap.Params{
		Identity:    "web",
		ProxyConfig: map[string]any{"envoy_statsd_url": "udp://statsd:8125"},
	})
	fmt.Println(err)
	// Output: build envoy bootstrap: proxy config key "envoy_statsd_url": "statsd:8125" is not an IP address and a port (such as 0.0.0.0:20200 or [::]:20200)
}
