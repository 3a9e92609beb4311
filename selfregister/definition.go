// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Definition is what a service file says: one service, its health checks and its
// sidecar proxy, in the form of Consul's own service definitions.
// https://developer.hashicorp.com/consul/docs/reference/service
type Definition struct {
	// Name is the service's. ID is Name unless the file says otherwise.
	Name, ID string
	// Address is where others reach the machine; empty means that it is found out.
	Address string
	// Port is the application's; SocketPath, a Unix socket instead.
	Port              int
	SocketPath        string
	Tags              []string
	Meta              map[string]string
	TaggedAddresses   map[string]TaggedAddress
	Weights           *Weights
	Locality          *Locality
	EnableTagOverride bool
	// Namespace and Partition are Enterprise's; empty is the default.
	Namespace, Partition string
	Checks               []Check
	Sidecar              Sidecar
}

// ProxyID is the ID of the service's sidecar proxy, as Consul's agents make it.
func (d *Definition) ProxyID() string { return d.ID + "-sidecar-proxy" }

// Sidecar is connect.sidecar_service of a definition.
type Sidecar struct {
	Name            string
	Address         string
	Port            int
	Tags            []string
	Meta            map[string]string
	TaggedAddresses map[string]TaggedAddress
	Weights         *Weights
	Locality        *Locality
	Checks          []Check
	Proxy           Proxy
}

// DefaultProxyPort is where the sidecar's mTLS listener is, unless the file says
// otherwise. A Consul agent would pick a port from 21000 on; here nobody knows
// which ones others have picked.
const DefaultProxyPort = 20000

// The types below have the names of Consul's API and are sent as they are.
// https://developer.hashicorp.com/consul/api-docs/catalog#service

// TaggedAddress is an address of the service for certain askers.
type TaggedAddress struct {
	Address string
	Port    int
}

// Weights are those of DNS SRV answers.
type Weights struct{ Passing, Warning int }

// Locality is where the machine is.
type Locality struct {
	Region string `json:",omitempty"`
	Zone   string `json:",omitempty"`
}

// Proxy is the configuration of the sidecar proxy.
type Proxy struct {
	DestinationServiceName string            `json:",omitempty"`
	DestinationServiceID   string            `json:",omitempty"`
	LocalServiceAddress    string            `json:",omitempty"`
	LocalServicePort       int               `json:",omitempty"`
	LocalServiceSocketPath string            `json:",omitempty"`
	Mode                   string            `json:",omitempty"`
	Config                 map[string]any    `json:",omitempty"`
	Upstreams              []Upstream        `json:",omitempty"`
	MeshGateway            *MeshGateway      `json:",omitempty"`
	Expose                 *Expose           `json:",omitempty"`
	TransparentProxy       *TransparentProxy `json:",omitempty"`
	EnvoyExtensions        []EnvoyExtension  `json:",omitempty"`
}

// Upstream is a service that the application reaches at a local address.
type Upstream struct {
	DestinationType      string         `json:",omitempty"`
	DestinationName      string         `json:",omitempty"`
	DestinationNamespace string         `json:",omitempty"`
	DestinationPartition string         `json:",omitempty"`
	DestinationPeer      string         `json:",omitempty"`
	Datacenter           string         `json:",omitempty"`
	LocalBindAddress     string         `json:",omitempty"`
	LocalBindPort        int            `json:",omitempty"`
	LocalBindSocketPath  string         `json:",omitempty"`
	LocalBindSocketMode  string         `json:",omitempty"`
	Config               map[string]any `json:",omitempty"`
	MeshGateway          *MeshGateway   `json:",omitempty"`
}

// MeshGateway says which way traffic to other datacenters takes.
type MeshGateway struct{ Mode string }

// Expose opens paths of the application past the mesh.
type Expose struct {
	Paths []ExposedPath `json:",omitempty"`
}

// ExposedPath is one such path.
type ExposedPath struct {
	ListenerPort  int
	Path          string
	LocalPathPort int
	Protocol      string `json:",omitempty"`
}

// TransparentProxy is for Mode "transparent".
type TransparentProxy struct {
	OutboundListenerPort int  `json:",omitempty"`
	DialedDirectly       bool `json:",omitempty"`
}

// EnvoyExtension is one of Consul's extensions of Envoy's configuration.
type EnvoyExtension struct {
	Name          string
	Required      bool           `json:",omitempty"`
	Arguments     map[string]any `json:",omitempty"`
	ConsulVersion string         `json:",omitempty"`
	EnvoyVersion  string         `json:",omitempty"`
}

// Check is a health check that podplane makes: exactly one of HTTP and TCP is set.
type Check struct {
	ID, Name, Notes string
	// HTTP is a URL; the fields up to DisableRedirects go with it.
	HTTP             string
	Method           string
	Header           map[string][]string
	Body             string
	DisableRedirects bool
	// TCP is host:port.
	TCP       string
	TCPUseTLS bool
	// TLSServerName and TLSSkipVerify are for both.
	TLSServerName     string
	TLSSkipVerify     bool
	Interval, Timeout time.Duration
	// Status is the one to begin with.
	Status string
	// How many results in a row it takes to change the status; 0 is as 1.
	SuccessBeforePassing, FailuresBeforeWarning, FailuresBeforeCritical int
}

const (
	// maxFile bounds a service file, in bytes. Consul takes no request above 512 KiB.
	maxFile = 64 << 10
	// maxChecks bounds the checks of a service, each of which is a goroutine.
	maxChecks = 64
)

// Load reads a service file: JSON or HCL, by its name or its content. The error
// tells everything that is wrong with it, each with its line.
func Load(path string) (*Definition, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read service file: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read service file: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read service file: %s has more than %d bytes", path, maxFile)
	}
	d, err := Parse(path, data)
	if err != nil {
		return nil, fmt.Errorf("read service file: %w", err)
	}
	return d, nil
}

// Parse is [Load] for a file's content; path is for its language and for errors.
func Parse(path string, data []byte) (*Definition, error) {
	tree, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: path}
	definition := d.wholeFile(tree)
	if err := d.err(); err != nil {
		return nil, err
	}
	definition.setDefaults()
	return definition, nil
}

// setDefaults fills in what an agent would.
func (d *Definition) setDefaults() {
	if d.ID == "" {
		d.ID = d.Name
	}
	s := &d.Sidecar
	if s.Name == "" {
		s.Name = d.Name + "-sidecar-proxy"
	}
	if s.Port == 0 {
		s.Port = DefaultProxyPort
	}
	if s.Tags == nil {
		s.Tags = d.Tags
	}
	if s.Meta == nil {
		s.Meta = d.Meta
	}
	if s.Locality == nil {
		s.Locality = d.Locality
	}
	p := &s.Proxy
	p.DestinationServiceName, p.DestinationServiceID = d.Name, d.ID
	switch {
	case p.LocalServiceSocketPath != "":
	case d.SocketPath != "" && p.LocalServicePort == 0:
		p.LocalServiceSocketPath = d.SocketPath
	default:
		if p.LocalServicePort == 0 {
			p.LocalServicePort = d.Port
		}
		if p.LocalServiceAddress == "" && p.LocalServicePort != 0 {
			p.LocalServiceAddress = "127.0.0.1"
		}
	}
	nameChecks(d.Checks, "service:"+d.ID)
	nameChecks(s.Checks, "service:"+d.ProxyID())
}

// nameChecks gives checks without an ID the one that an agent would give them.
func nameChecks(checks []Check, base string) {
	for i := range checks {
		c := &checks[i]
		if c.ID == "" {
			c.ID = base
			if len(checks) > 1 {
				c.ID = fmt.Sprintf("%s:%d", base, i+1)
			}
		}
		if c.Name == "" {
			c.Name = c.ID
		}
		if c.Timeout == 0 {
			c.Timeout = defaultCheckTimeout
		}
		if c.Status == "" {
			c.Status = Critical
		}
	}
}

// defaultCheckTimeout is the agents'.
const defaultCheckTimeout = 10 * time.Second
