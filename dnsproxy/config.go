// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// SystemRecursors in Config.Recursors stands for the nameservers of
// Config.ResolvConf.
const SystemRecursors = "system"

// Defaults of a Config.
const (
	DefaultDomain      = "consul."
	DefaultMaxInFlight = 16384
	// DefaultTimeout is below the five seconds after which resolvers take a
	// query for lost (resolv.conf(5)).
	DefaultTimeout    = 4500 * time.Millisecond
	DefaultResolvConf = "/etc/resolv.conf"
)

// Config says where to listen and where the answers come from.
type Config struct {
	// Addr is the host:port to serve on, UDP and TCP. Port 0 is any port that
	// is free for both.
	Addr string
	// Conn reaches the Consul servers and adds the token. Required.
	Conn grpc.ClientConnInterface
	// Settle is called when the servers answer a query with an error or with
	// SERVFAIL, which is how Consul answers under a token that it does not know.
	// It waits until the token is in order, and tells whether server or token
	// have changed since the query was sent, so that it is worth repeating. nil
	// means that it never is.
	Settle func(ctx context.Context, sent time.Time) bool
	// Namespace and Partition are those that names without one are looked up
	// in. Empty: the servers' defaults.
	Namespace, Partition string
	// Recursors answer for names outside Domain: "ip:port" each, asked in this
	// order, or SystemRecursors. Empty means that Consul gets every question.
	Recursors []string
	// ResolvConf is the file behind SystemRecursors. Default DefaultResolvConf.
	ResolvConf string
	// Domain is Consul's, with or without its last dot. Default DefaultDomain.
	Domain string
	// CacheSize is how many answers to keep; 0 means none, and so no stale
	// ones either.
	CacheSize int
	// Stale is for how long past its TTL a kept answer may be used while no
	// server answers; 0 means never.
	Stale time.Duration
	// MaxInFlight bounds the queries under way; those beyond get SERVFAIL.
	// Default DefaultMaxInFlight.
	MaxInFlight int
	// Timeout is after how long a query without an answer gets SERVFAIL.
	// Default DefaultTimeout.
	Timeout time.Duration
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.ResolvConf == "" {
		c.ResolvConf = DefaultResolvConf
	}
	if c.Domain == "" {
		c.Domain = DefaultDomain
	}
	c.Domain = strings.ToLower(strings.Trim(c.Domain, ".")) + "."
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	return c
}

func (c Config) validate() error {
	if c.Conn == nil {
		return errors.New("no connection to the consul servers")
	}
	return nil
}
