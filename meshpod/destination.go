// SPDX-License-Identifier: MPL-2.0

package meshpod

// Destination says which Consul namespace the services of a Kubernetes namespace
// are in. Namespaces are Consul Enterprise's; the zero value means that there are
// none.
type Destination struct {
	// Enabled says that Consul has namespaces.
	Enabled bool
	// Namespace is the one for all services, unless Mirror. Defaults to
	// "default".
	Namespace string
	// Mirror puts services into the Consul namespace of the Kubernetes
	// namespace's name, with Prefix in front.
	Mirror bool
	Prefix string
}

// defaultNamespace is the Consul namespace that always exists.
const defaultNamespace = "default"

// For is the Consul namespace of a Kubernetes namespace; empty if Consul has no
// namespaces.
func (d Destination) For(kubernetesNamespace string) string {
	switch {
	case !d.Enabled:
		return ""
	case d.Mirror:
		return d.Prefix + kubernetesNamespace
	case d.Namespace == "":
		return defaultNamespace
	default:
		return d.Namespace
	}
}

// LoginFor is the Consul namespace of the auth method that pods of a Kubernetes
// namespace log in to: with Mirror the default one, whose binding rules lead into
// the others.
func (d Destination) LoginFor(kubernetesNamespace string) string {
	if d.Enabled && d.Mirror {
		return defaultNamespace
	}
	return d.For(kubernetesNamespace)
}
