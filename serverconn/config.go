// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultGRPCPort is the gRPC port of a Consul server when Config names none.
// https://developer.hashicorp.com/consul/docs/reference/architecture/ports
const DefaultGRPCPort = 8502

// CredentialType says how a session gets its ACL token.
type CredentialType string

// The kinds of credentials. With CredentialNone requests carry no token.
const (
	CredentialNone   CredentialType = ""
	CredentialStatic CredentialType = "static"
	CredentialLogin  CredentialType = "login"
)

// Config is everything a Session needs to know. The zero value of each field
// is valid unless its comment says otherwise.
type Config struct {
	// Addresses finds the servers: an IP address, a DNS name, or "exec=" and a
	// command that prints addresses. Required.
	Addresses string
	// GRPCPort is the same on all servers. Defaults to DefaultGRPCPort.
	GRPCPort int
	// ServerWatchDisabled keeps the session on Addresses alone instead of the
	// list that servers announce: for servers behind a load balancer.
	ServerWatchDisabled bool
	// TLS secures the connections; it is on unless TLS.Disabled.
	TLS TLSConfig
	// Credentials give the session its ACL token.
	Credentials Credentials
	// MaxRefusals ends Run with a RefusedError after so many refusals of the
	// credentials in a row, as long as no session was ever established. Later
	// refusals never end it, because the pod's traffic lives on without a
	// session; nor do any after Tolerate. Zero retries for ever.
	MaxRefusals int
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// Logins takes the duration of each successful login in seconds, for somebody
	// who shows it under another name as well; may be nil.
	Logins prometheus.Observer
}

// TLSConfig says how connections to servers are secured. At least TLS 1.2 is
// spoken. All files are watched, and a change is taken over without a restart.
type TLSConfig struct {
	// Disabled speaks plain text.
	Disabled bool
	// CAPath is a PEM file, or a folder of them, with the authorities to trust.
	// Empty trusts the system's.
	CAPath string
	// CertFile and KeyFile are the client certificate: both or neither.
	CertFile string
	KeyFile  string
	// ServerName is expected in servers' certificates. Empty takes
	// Config.Addresses. Required when that is a command, unless certificates are
	// not verified.
	ServerName string
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
}

// Credentials give a session its ACL token.
type Credentials struct {
	// Type decides which of the other fields count.
	Type CredentialType
	// StaticToken is the token itself, for CredentialStatic.
	StaticToken string
	// StaticTokenPath is a file that holds it; the file is watched. StaticToken
	// wins where both are given.
	StaticTokenPath string
	// Login is for CredentialLogin.
	Login LoginConfig
}

// LoginConfig names an auth method and what to present to it.
// https://developer.hashicorp.com/consul/docs/secure/acl/auth-method
type LoginConfig struct {
	AuthMethod string
	// Namespace, Partition and Datacenter are those of the auth method.
	Namespace  string
	Partition  string
	Datacenter string
	// BearerToken is presented to the auth method.
	BearerToken string
	// BearerTokenPath is a file that holds it, read anew at every login.
	// BearerToken wins where both are given.
	BearerTokenPath string
	// Meta is attached to the token, in its description.
	Meta map[string]string
}

func (c Config) withDefaults() Config {
	if c.GRPCPort == 0 {
		c.GRPCPort = DefaultGRPCPort
	}
	if c.TLS.ServerName == "" && !c.usesCommand() {
		c.TLS.ServerName = c.Addresses
	}
	return c
}

func (c Config) usesCommand() bool { return strings.HasPrefix(c.Addresses, "exec=") }

// serverSource names where servers come from, fit for logs: a command's
// arguments are cut off, because cloud discovery takes its secrets there.
func (c Config) serverSource() string {
	if !c.usesCommand() {
		return c.Addresses
	}
	return "exec=" + strings.Fields(strings.TrimPrefix(c.Addresses, "exec="))[0]
}

// validate reports every mistake at once. It reads no file.
func (c Config) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case strings.TrimSpace(c.Addresses) == "":
		add("addresses of Consul servers are missing")
	case c.usesCommand() && len(strings.Fields(strings.TrimPrefix(c.Addresses, "exec="))) == 0:
		add("addresses: exec= names no command")
	}
	if c.GRPCPort < 1 || c.GRPCPort > 65535 {
		add("gRPC port %d is not between 1 and 65535", c.GRPCPort)
	}
	if c.MaxRefusals < 0 {
		add("maximum of refusals %d is negative", c.MaxRefusals)
	}
	if !c.TLS.Disabled && (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		add("client certificate and key belong together: certificate file %q, key file %q", c.TLS.CertFile, c.TLS.KeyFile)
	}
	if c.usesCommand() && !c.TLS.Disabled && !c.TLS.InsecureSkipVerify && c.TLS.ServerName == "" {
		add("addresses from a command give no name to verify the servers' certificates by: set the TLS server name")
	}
	errs = append(errs, c.Credentials.validate())
	return errors.Join(errs...)
}

func (c Credentials) validate() error {
	switch c.Type {
	case CredentialNone:
	case CredentialStatic:
		if c.StaticToken == "" && c.StaticTokenPath == "" {
			return errors.New("static credentials need a token or a token file")
		}
	case CredentialLogin:
		var errs []error
		if c.Login.AuthMethod == "" {
			errs = append(errs, errors.New("login credentials need an auth method"))
		}
		if c.Login.BearerToken == "" && c.Login.BearerTokenPath == "" {
			errs = append(errs, errors.New("login credentials need a bearer token or a bearer token file"))
		}
		return errors.Join(errs...)
	default:
		return fmt.Errorf("credential type %q is none of \"\", \"static\", \"login\"", c.Type)
	}
	return nil
}
