// SPDX-License-Identifier: MPL-2.0

package registrar

// The meta of what is registered, with the names of consul-k8s where it has them.
const (
	metaPod         = "pod-name"
	metaUID         = "pod-uid"
	metaNamespace   = "k8s-namespace"
	metaKubeService = "k8s-service-name"
	metaManagedBy   = "managed-by"
	metaCluster     = "k8s-cluster"
	// metaSynthetic marks nodes on which no agent runs, and what is on them.
	metaSynthetic = "synthetic-node"
)

// ManagedBy is the value of the meta managed-by. It is another one than consul-k8s's, which removes what carries its own.
const ManagedBy = "podplane-injector"

// The readiness check, as consul-k8s names it.
const (
	checkName = "Kubernetes Readiness Check"
	checkType = "kubernetes-readiness"
)

// localhost is where a dataplane reaches its application.
const localhost = "127.0.0.1"
