// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Path is where the merged exposition is served. Envoy's Prometheus listener
// rewrites the operator's scrape path to it, as in consul-dataplane.
const Path = "/stats/prometheus"

// The defaults of Config.
const (
	DefaultAddr           = "127.0.0.1:20100"
	DefaultMaxSourceBytes = 64 << 20
	DefaultMaxInFlight    = 3
	DefaultTimeout        = 10 * time.Second
)

// Config is what a Server needs to know. The zero value serves the registry of
// its own at DefaultAddr.
type Config struct {
	// Addr is the address of the merged endpoint, host:port; port 0 takes a
	// free one. Default DefaultAddr. Keep it on loopback: it has no TLS, and
	// Envoy's listener in front of it may.
	Addr string `json:"addr"`

	// Registry is the source "podplane", and takes the Server's own
	// collectors. Nil is replaced by NewRegistry(BuildInfo{}).
	Registry *prometheus.Registry `json:"-"`

	// EnvoyURL is Envoy's admin endpoint for statistics in Prometheus's format,
	// such as http://127.0.0.1:19000/stats/prometheus. The query of a scrape
	// (usedonly, filter, …) is passed on to it. Empty: no such source.
	EnvoyURL string `json:"envoyURL"`

	// ApplicationURLs are the metrics endpoints of the pod's containers. The
	// first is the source "application", the others "application_2" and so on.
	ApplicationURLs []string `json:"applicationURLs"`

	// MaxSourceBytes bounds what one source may send in one scrape, after
	// decompression. Default DefaultMaxSourceBytes.
	MaxSourceBytes int64 `json:"maxSourceBytes"`

	// MaxInFlight bounds the scrapes that hold memory at the same time. One
	// more waits for its turn until its deadline, and is then told 503 with
	// Retry-After. Default DefaultMaxInFlight.
	MaxInFlight int `json:"maxInFlight"`

	// Timeout is the deadline of a scrape that names none in the header
	// X-Prometheus-Scrape-Timeout-Seconds. Default DefaultTimeout.
	Timeout time.Duration `json:"timeout"`
}

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = DefaultAddr
	}
	if c.Registry == nil {
		c.Registry = NewRegistry(BuildInfo{})
	}
	if c.MaxSourceBytes <= 0 {
		c.MaxSourceBytes = DefaultMaxSourceBytes
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	return c
}

// checkURL accepts the absolute http and https URLs.
func checkURL(what, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%s: %q is not an http or https URL", what, raw)
	}
	return u, nil
}
