// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

// SecretMetadataKey is the gRPC metadata under which Envoy presents [XDS.Secret] on its ADS stream. Bootstraps from
// envoy_bootstrap_json_tpl present it as x-consul-token if they use Consul's documented {{ .Token }}.
const SecretMetadataKey = "x-podplane-secret"

// dynamicResources is envoy.config.bootstrap.v3.Bootstrap.DynamicResources.
type dynamicResources struct {
	LDS configSource    `json:"lds_config"`
	CDS configSource    `json:"cds_config"`
	ADS apiConfigSource `json:"ads_config"`
}

type configSource struct {
	ADS                 empty  `json:"ads"`
	InitialFetchTimeout string `json:"initial_fetch_timeout"`
	ResourceAPIVersion  string `json:"resource_api_version"`
}

type apiConfigSource struct {
	APIType             string        `json:"api_type"`
	TransportAPIVersion string        `json:"transport_api_version"`
	GRPCServices        []grpcService `json:"grpc_services"`
}

type grpcService struct {
	EnvoyGRPC       envoyGRPC     `json:"envoy_grpc"`
	InitialMetadata []headerValue `json:"initial_metadata,omitempty"`
}

type envoyGRPC struct {
	ClusterName string `json:"cluster_name"`
}

type headerValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// newDynamicResources points Envoy's listeners and clusters at the one delta ADS stream to podplane.
func newDynamicResources(secret string) dynamicResources {
	// Zero waits for ever. With a timeout Envoy would call itself LIVE without a listener, and the pod would be ready
	// while it refuses every connection.
	fromADS := configSource{InitialFetchTimeout: "0s", ResourceAPIVersion: "V3"}
	service := grpcService{EnvoyGRPC: envoyGRPC{ClusterName: ClusterXDS}}
	if secret != "" {
		service.InitialMetadata = []headerValue{{Key: SecretMetadataKey, Value: secret}}
	}
	return dynamicResources{
		LDS: fromADS,
		CDS: fromADS,
		ADS: apiConfigSource{
			APIType:             "DELTA_GRPC",
			TransportAPIVersion: "V3",
			GRPCServices:        []grpcService{service},
		},
	}
}
