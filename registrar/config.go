// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"podplane/meshpod"
)

// Defaults of Config.
const (
	DefaultWorkers       = 8
	DefaultTimeout       = 10 * time.Second
	DefaultSweepInterval = 5 * time.Minute
)

// Config is what the registrar needs to know. The zero value of each field is valid unless its comment says otherwise.
type Config struct {
	// Consul is a client of the servers' HTTP API. Its token needs node_prefix "" write and service_prefix "" write, and
	// acl write where AuthMethod is set; finding servers and keeping the token fresh is the client's business. Required.
	Consul *api.Client
	// Cluster names this Kubernetes cluster in the meta of what it registers. Of all clusters that share a Consul
	// datacenter each needs another name: the registrar removes what carries its name and has no pod. Empty takes the
	// UID of the namespace kube-system, which no two clusters have in common.
	Cluster string
	// NodeSuffix makes the catalog node's name of the Kubernetes node's. Dataplanes must be told the same name. Clusters
	// that share a Consul datacenter, and whose nodes or pods may have the same names, need different ones. Defaults to
	// meshpod.NodeSuffix.
	NodeSuffix string
	// Allowed says whether pods of a Kubernetes namespace may be injected, as the webhook has it; nil allows all. Where they
	// may not be, what says it was injected was not by the webhook. Pods that are registered stay if this changes.
	Allowed func(namespace string) bool
	// NodeMeta is added to the meta of catalog nodes.
	NodeMeta map[string]string
	// Defaults are what holds for pods whose annotations say nothing. They must be those of the injector.
	Defaults meshpod.Defaults
	// Namespaces says which Consul namespace a pod's services belong to (Consul Enterprise).
	Namespaces meshpod.Destination
	// Partition is the admin partition of everything that is registered (Consul Enterprise); empty in the community edition.
	Partition string
	// CrossNamespacePolicy is attached to namespaces that are created (Consul Enterprise); empty attaches none.
	CrossNamespacePolicy string
	// Locality adds the region and zone of the Kubernetes node to services. It watches nodes.
	Locality bool
	// AccountsAreServices says that a dataplane can log in only as the service of its ServiceAccount's name, so that people
	// are told of pods that a Kubernetes Service gives another name.
	AccountsAreServices bool
	// AuthMethod is the one that pods log in with. The tokens of pods that are gone are deleted; empty leaves them alone.
	AuthMethod string
	// Workers is how many pods are brought up to date at the same time. Defaults to DefaultWorkers.
	Workers int
	// Timeout bounds each request to Consul, and to the API server. Defaults to DefaultTimeout.
	Timeout time.Duration
	// SweepInterval is the time between comparisons of the whole catalog with the pods. Defaults to DefaultSweepInterval.
	SweepInterval time.Duration
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// Logger defaults to none.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.NodeSuffix == "" {
		c.NodeSuffix = meshpod.NodeSuffix
	}
	if c.Workers == 0 {
		c.Workers = DefaultWorkers
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = DefaultSweepInterval
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// validate reports every mistake at once.
func (c Config) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Consul == nil {
		add("consul client is missing")
	}
	if strings.Trim(c.NodeSuffix, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		add("node suffix %q: only lower-case letters, digits, '-' and '.' are allowed", c.NodeSuffix)
	}
	if c.Workers < 1 {
		add("workers %d: at least 1 is needed", c.Workers)
	}
	if c.Timeout < 0 {
		add("timeout %s is negative", c.Timeout)
	}
	if c.SweepInterval < time.Second {
		add("sweep interval %s is below 1s", c.SweepInterval)
	}
	for key := range c.NodeMeta {
		if key == metaSynthetic || key == metaCluster || key == metaManagedBy {
			add("node meta %q is the registrar's own", key)
		}
	}
	return errors.Join(errs...)
}
