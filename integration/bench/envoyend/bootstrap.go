// SPDX-License-Identifier: MPL-2.0

package envoyend

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/metadata"

	"podplane/integration/standin/bootstrap"
)

// boot is what of a bootstrap matters here.
type boot struct {
	admin  string // host:port
	target target // of the ADS stream
}

// load finds the bootstrap in Envoy's arguments. All others are passed over, for
// nothing here depends on them.
func load(args []string) (boot, error) {
	source := bootstrap.Source{AllowUnknown: true}
	for i := 0; i+1 < len(args); i++ {
		switch args[i] {
		case "-c", "--config-path":
			source.Path = args[i+1]
		case "--config-yaml":
			source.YAML = args[i+1]
		}
	}
	b, err := bootstrap.Load(source)
	if err != nil {
		return boot{}, err
	}
	_, admin, err := dialable(b.GetAdmin().GetAddress())
	if err != nil {
		return boot{}, fmt.Errorf("admin: %w", err)
	}
	t, err := adsTarget(b)
	if err != nil {
		return boot{}, fmt.Errorf("ads: %w", err)
	}
	return boot{admin: admin, target: t}, nil
}

// adsTarget follows the ads_config to its cluster's first endpoint.
func adsTarget(b *bootstrapv3.Bootstrap) (target, error) {
	services := b.GetDynamicResources().GetAdsConfig().GetGrpcServices()
	if len(services) == 0 {
		return target{}, errors.New("no grpc service")
	}
	t := target{node: b.GetNode(), metadata: metadata.MD{}}
	for _, h := range services[0].GetInitialMetadata() {
		t.metadata.Append(strings.ToLower(h.GetKey()), h.GetValue())
	}
	name := services[0].GetEnvoyGrpc().GetClusterName()
	for _, c := range b.GetStaticResources().GetClusters() {
		if c.GetName() != name {
			continue
		}
		for _, locality := range c.GetLoadAssignment().GetEndpoints() {
			for _, endpoint := range locality.GetLbEndpoints() {
				var err error
				t.network, t.address, err = dialable(endpoint.GetEndpoint().GetAddress())
				return t, err
			}
		}
		return target{}, fmt.Errorf("cluster %q has no endpoint", name)
	}
	return target{}, fmt.Errorf("no cluster %q", name)
}

func dialable(a *corev3.Address) (network, address string, err error) {
	if pipe := a.GetPipe(); pipe != nil {
		return "unix", pipe.GetPath(), nil
	}
	socket := a.GetSocketAddress()
	if socket.GetAddress() == "" {
		return "", "", errors.New("no address")
	}
	return "tcp", net.JoinHostPort(socket.GetAddress(), strconv.Itoa(int(socket.GetPortValue()))), nil
}
