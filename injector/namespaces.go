// SPDX-License-Identifier: MPL-2.0

package injector

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Allows tells whether pods of a Kubernetes namespace are injected at all.
func (c Config) Allows(namespace string) bool {
	return namespace != metav1.NamespaceSystem && namespace != metav1.NamespacePublic &&
		!names(c.DenyNamespaces, namespace) && names(c.AllowNamespaces, namespace)
}
