// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"podplane/meshpod"
)

// Config is what is the same for all pods.
type Config struct {
	// Image is the dataplane's. Required.
	Image string
	// PullPolicy is the image's: Always, IfNotPresent or Never; empty leaves it to
	// Kubernetes.
	PullPolicy string

	// DefaultInject injects pods whose annotations do not say whether.
	DefaultInject bool
	// AllowNamespaces and DenyNamespaces are Kubernetes namespaces; "*" is all.
	// What is denied is not allowed. No allowed namespace means that none is.
	AllowNamespaces, DenyNamespaces []string

	// Native makes the dataplane an init container that keeps running, unless the
	// pod's annotation says otherwise.
	Native bool
	// NativeMissing says why the cluster cannot run such containers: pods that ask
	// for one are refused with it. Empty if it can.
	NativeMissing string
	// Compat writes pods for HashiCorp's consul-dataplane: its flags only, and the
	// proxy's ID in a file, which a container of CompanionImage writes.
	Compat         bool
	CompanionImage string

	Consul Consul
	Login  Login
	// Destination says which Consul namespace pods belong to, Partition which
	// partition; both are Consul Enterprise's.
	Destination meshpod.Destination
	Partition   string
	// NodeSuffix makes the name of the catalog's node of the Kubernetes node's.
	// Defaults to [meshpod.NodeSuffix].
	NodeSuffix string

	// LogLevel and LogJSON are the dataplane's. LogLevel defaults to info.
	LogLevel string
	LogJSON  bool

	// Defaults hold for pods whose annotations say nothing. IDForm follows from
	// Compat.
	Defaults meshpod.Defaults
}

// Consul is how dataplanes reach the Consul servers.
type Consul struct {
	// Addresses is as in podplane's -addresses. Required.
	Addresses string
	// GRPCPort defaults to 8502.
	GRPCPort            int
	ServerWatchDisabled bool
	TLSDisabled         bool
	TLSSkipVerify       bool
	TLSServerName       string
	// CA holds the servers' authorities in PEM; empty means those of the image.
	CA string
}

// Login is how dataplanes get an ACL token.
type Login struct {
	// AuthMethod is Consul's; empty means that ACLs are off.
	AuthMethod string
	// AnyAccount lets pods join whose ServiceAccount has another name than their
	// service: Consul has binding rules for that.
	AnyAccount bool
	// Audience is that of the bearer token; empty is the API server's.
	Audience string
	// ExpirySeconds is the life of the bearer token, which the kubelet renews.
	// Defaults to 3600.
	ExpirySeconds int64
}

// maxCA bounds the authorities, in bytes: they become an annotation, and all of a
// pod's annotations may have 256 KiB
// (https://pkg.go.dev/k8s.io/apimachinery/pkg/api/validation#TotalAnnotationSizeLimitB).
const maxCA = 64 << 10

// minTokenExpiry is Kubernetes' least, in seconds.
const minTokenExpiry = 600

func (c Config) withDefaults() Config {
	if c.NodeSuffix == "" {
		c.NodeSuffix = meshpod.NodeSuffix
	}
	if c.LogLevel == "" {
		c.LogLevel = "info"
	}
	if c.Consul.GRPCPort == 0 {
		c.Consul.GRPCPort = 8502
	}
	if c.Login.ExpirySeconds == 0 {
		c.Login.ExpirySeconds = 3600
	}
	c.Defaults.IDForm = meshpod.IDNamespaced
	if c.Compat {
		c.Defaults.IDForm = meshpod.IDCompat
	}
	return c
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf("injector: "+format, args...))
		}
	}
	wrong(c.Image == "", "there is no image")
	wrong(c.Consul.Addresses == "", "there are no Consul addresses")
	wrong(c.Compat && c.CompanionImage == "", "there is no companion image, which -compat needs")
	wrong(!slices.Contains([]corev1.PullPolicy{"", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}, corev1.PullPolicy(c.PullPolicy)),
		"%q is no pull policy", c.PullPolicy)
	wrong(c.Login.ExpirySeconds < minTokenExpiry, "tokens must live %d s or longer, not %d s", minTokenExpiry, c.Login.ExpirySeconds)
	if c.Consul.CA != "" {
		errs = append(errs, CheckCA(c.Consul.CA))
	}
	for _, name := range slices.Concat(c.AllowNamespaces, c.DenyNamespaces) {
		wrong(name != anyNamespace && len(validation.IsDNS1123Label(name)) > 0, "%q is no namespace", name)
	}
	if err := c.Defaults.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("injector: defaults: %w", err))
	}
	return errors.Join(errs...)
}

// CheckCA tells why a text cannot be [Consul].CA.
func CheckCA(text string) error {
	if len(text) > maxCA {
		return fmt.Errorf("injector: the CAs of the Consul servers have %d bytes: at most %d fit into a pod", len(text), maxCA)
	}
	if !isCertificates(text) {
		return errors.New("injector: the CAs of the Consul servers are not certificates in PEM and nothing else")
	}
	return nil
}

// isCertificates tells whether a text has certificates and no other blocks: what
// becomes an annotation is public.
func isCertificates(text string) bool {
	rest := []byte(text)
	for n := 0; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return n > 0
		}
		if block.Type != "CERTIFICATE" {
			return false
		}
	}
}
