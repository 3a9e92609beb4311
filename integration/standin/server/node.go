// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"podplane/integration/standin/cli"
)

// The release of Envoy whose place the stand-in takes. Consul checks it: see
// https://developer.hashicorp.com/consul/docs/connect/proxies/envoy
const (
	versionMajor, versionMinor, versionPatch = 1, 35, 9

	release = "1.35.9"
	// Version has the form of Envoy's: revision, release, state of the tree,
	// build type, TLS library. The revision says that this is not Envoy.
	Version = "podplane-stand-in/" + release + "/Modified/RELEASE/Go"
)

// node says who asks for the configuration: the bootstrap's node with what the
// command line and the build add.
func node(b *bootstrapv3.Bootstrap, o cli.Options) *corev3.Node {
	n, ok := proto.Clone(b.GetNode()).(*corev3.Node)
	if !ok || n == nil || b.GetNode() == nil {
		n = &corev3.Node{}
	}
	if o.ServiceNode != "" {
		n.Id = o.ServiceNode
	}
	if o.ServiceCluster != "" {
		n.Cluster = o.ServiceCluster
	}
	if o.ServiceZone != "" {
		if n.Locality == nil {
			n.Locality = &corev3.Locality{}
		}
		n.Locality.Zone = o.ServiceZone
	}
	n.UserAgentName = "envoy"
	n.UserAgentVersionType = &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
		Version: &typev3.SemanticVersion{MajorNumber: versionMajor, MinorNumber: versionMinor, Patch: versionPatch},
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"build.type":      structpb.NewStringValue("RELEASE"),
			"revision.sha":    structpb.NewStringValue("podplane-stand-in"),
			"revision.status": structpb.NewStringValue("Modified"),
			"ssl.version":     structpb.NewStringValue("Go"),
		}},
	}}
	n.ClientFeatures = []string{"envoy.lb.does_not_support_overprovisioning", "envoy.lrs.supports_send_all_clusters"}
	return n
}

// errNode is Envoy's refusal of a dynamic configuration without an identity.
var errNode = errors.New("node 'id' and 'cluster' are required. Set it either in 'node' config or via --service-node and --service-cluster options")

func checkNode(n *corev3.Node) error {
	if n.GetId() == "" || n.GetCluster() == "" {
		return errNode
	}
	return nil
}
