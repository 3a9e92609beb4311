// SPDX-License-Identifier: MPL-2.0

package meshpod

import "strconv"

// IDForm is a form of service IDs.
type IDForm string

// The forms.
const (
	// IDNamespaced is <namespace>.<pod>-<index>.
	IDNamespaced IDForm = "namespaced"
	// IDCompat is consul-k8s's <pod>-<service>. Pods of the same name in two
	// namespaces, on one node, have the same.
	IDCompat IDForm = "compat"
)

// proxySuffix makes a proxy's ID of its service's, and its name of the service's
// name.
const proxySuffix = "-sidecar-proxy"

// Own is a pod's name and namespace as variables of a container that has them
// from the downward API as POD_NAME and POD_NAMESPACE, for [Pod.ProxyID] at
// admission, where a pod may have no name yet.
func Own() (namespace, name string) { return "$(POD_NAMESPACE)", "$(POD_NAME)" }

// ServiceID is the ID under which a service of the pod is registered.
func (p Pod) ServiceID(namespace, podName string, s Service) string {
	if p.IDForm == IDCompat {
		return podName + "-" + p.NameOf(s, "")
	}
	return namespace + "." + podName + "-" + itoa(s.Index)
}

// ProxyID is the ID under which the service's proxy is registered.
func (p Pod) ProxyID(namespace, podName string, s Service) string {
	return p.ServiceID(namespace, podName, s) + proxySuffix
}

// ProxyName is the name under which a service's proxy is registered.
func ProxyName(serviceName string) string { return serviceName + proxySuffix }

func itoa(n int) string { return strconv.Itoa(n) }
