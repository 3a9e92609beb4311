// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// defaultExpiryInterval is far below any certificate's life, and the answer
	// of an Envoy with a hundred upstreams is 100 KB.
	defaultExpiryInterval = time.Minute
	// expiryWarning is what is left at most of a certificate when the log begins
	// to say so. Consul renews them long before: after about half of their 72
	// hours.
	expiryWarning = 6 * time.Hour
	// expiryShare is the share of a short certificate's life, a divisor, that
	// takes the place of expiryWarning: Consul gives lives from an hour on.
	// https://developer.hashicorp.com/consul/docs/connect/ca/consul
	expiryShare = 4
	// spiffeScheme begins the name in every certificate of the mesh.
	spiffeScheme = "spiffe://"
)

// ExpiryConfig says whose certificates to look at. All fields but Interval and
// Registerer are required.
type ExpiryConfig struct {
	Admin *Admin
	// Changed gives a channel that is closed with the next change of the Envoy
	// that runs, such as its becoming LIVE.
	Changed func() <-chan struct{}
	// Interval is the time between two looks; 0 means a minute.
	Interval time.Duration
	// Registerer takes the metric; nil leaves it unregistered.
	Registerer prometheus.Registerer
}

// Expiry knows when the first of Envoy's mesh certificates expires: for so long
// the mesh works without the servers that renew them.
type Expiry struct {
	cfg   ExpiryConfig
	log   hclog.Logger
	gauge prometheus.Gauge
	// warned has the serials of those certificates that the log has told of.
	// Only Run's goroutine uses it.
	warned map[string]bool
}

// NewExpiry registers the metric. Nothing is asked until Run.
func NewExpiry(cfg ExpiryConfig, log hclog.Logger) (*Expiry, error) {
	if cfg.Admin == nil || cfg.Changed == nil {
		return nil, errors.New("expiry of certificates: whose is not said")
	}
	if cfg.Interval == 0 {
		cfg.Interval = defaultExpiryInterval
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	e := &Expiry{cfg: cfg, log: log, gauge: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "podplane_envoy_certificate_expiration_timestamp_seconds",
		Help: "When the first of Envoy's certificates of the mesh expires, in seconds since the epoch; 0 as long as none " +
			"is known.",
	})}
	if cfg.Registerer == nil {
		return e, nil
	}
	if err := cfg.Registerer.Register(e.gauge); err != nil {
		return nil, fmt.Errorf("register envoy metrics: %w", err)
	}
	return e, nil
}

// Run looks at the certificates, now and then and whenever Envoy changes, until
// ctx is done.
func (e *Expiry) Run(ctx context.Context) error {
	tick := time.NewTicker(e.cfg.Interval)
	defer tick.Stop()
	for {
		changed := e.cfg.Changed()
		e.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// look leaves the metric as it is when Envoy does not answer: what it had was
// true, and an Envoy that restarts gets the same certificates again.
func (e *Expiry) look(ctx context.Context) {
	certs, err := e.cfg.Admin.Certs(ctx)
	if err != nil {
		e.log.Debug("certificates not known", "error", err)
		return
	}
	first := firstExpiry(certs)
	if first.IsZero() {
		return
	}
	e.gauge.Set(float64(first.Unix()))
	e.warn(certs, time.Now())
}

// warn tells once of each certificate that should have been renewed by now.
func (e *Expiry) warn(certs []Certificate, now time.Time) {
	due := map[string]bool{}
	for _, c := range certs {
		left := c.NotAfter.Sub(now)
		if !c.ofMesh() || left >= c.expiryWarning() {
			continue
		}
		if !e.warned[c.Serial] && !due[c.Serial] {
			e.log.Warn("a certificate of the mesh expires soon and was not renewed", "expires", c.NotAfter,
				"left", left.Round(time.Second), "serial", c.Serial)
		}
		due[c.Serial] = true
	}
	e.warned = due // without those that Envoy no longer has
}

// firstExpiry is when the first of the mesh's leaf certificates expires; zero if
// there is none.
func firstExpiry(certs []Certificate) time.Time {
	var first time.Time
	for _, c := range certs {
		if c.ofMesh() && (first.IsZero() || c.NotAfter.Before(first)) {
			first = c.NotAfter
		}
	}
	return first
}

// expiryWarning is what is left of the certificate when it should have been
// renewed.
func (c Certificate) expiryWarning() time.Duration {
	if c.NotBefore.IsZero() {
		return expiryWarning
	}
	return min(expiryWarning, c.NotAfter.Sub(c.NotBefore)/expiryShare)
}

func (c Certificate) ofMesh() bool {
	for _, uri := range c.URIs {
		if strings.HasPrefix(uri, spiffeScheme) {
			return !c.CA
		}
	}
	return false
}
