// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// FilesConfig names given files.
type FilesConfig struct {
	// Cert and Key are the paths of PEM files. Required.
	Cert, Key string
	// CA is the path of a PEM file with the authorities to put into the webhook
	// configuration. Empty leaves that to somebody else, such as cert-manager.
	CA string
	// Cluster is where the webhook configuration is; its Secret is not used.
	Cluster Cluster
	// Interval is the time between two looks at the files. 0 is DefaultInterval.
	// They are read, not watched: a mounted Secret is a web of links that watchers
	// lose.
	Interval time.Duration
	// Metrics takes the metrics; nil means none.
	Metrics prometheus.Registerer
}

// Files serves a certificate from files, and reads them again when they change.
// It is made by NewFiles, and Run is called once.
type Files struct {
	cfg         FilesConfig
	store       *Store
	log         hclog.Logger
	metrics     *rotations
	cert, key   []byte // what is served
	lastProblem string
}

// NewFiles reads the files once: without a certificate there is nothing to serve.
func NewFiles(cfg FilesConfig, store *Store, log hclog.Logger) (*Files, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	metrics, err := newRotations(cfg.Metrics, store)
	if err != nil {
		return nil, err
	}
	f := &Files{cfg: cfg, store: store, log: log, metrics: metrics}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// Run looks at the files until ctx ends, and returns nil then. Files that cannot
// be used are logged, and what was read before stays in use.
func (f *Files) Run(ctx context.Context) error {
	for {
		err := errors.Join(f.load(), f.publish(ctx))
		switch {
		case err == nil:
			f.lastProblem = ""
		case ctx.Err() == nil && !isRace(err):
			f.metrics.errors.Inc()
			if problem := err.Error(); problem != f.lastProblem {
				f.lastProblem = problem
				f.log.Warn("the webhook's certificate cannot be kept up to date, retrying", "error", problem)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.cfg.Interval):
		}
	}
}

// load takes the files into use if they changed. A pair that does not match is
// one that is being replaced: the error says so, and a later look finds it whole.
func (f *Files) load() error {
	cert, err := os.ReadFile(f.cfg.Cert)
	if err != nil {
		return fmt.Errorf("read webhook certificate: %w", err)
	}
	key, err := os.ReadFile(f.cfg.Key)
	if err != nil {
		return fmt.Errorf("read webhook key: %w", err)
	}
	if bytes.Equal(cert, f.cert) && bytes.Equal(key, f.key) {
		return nil
	}
	loaded, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("read webhook certificate %s and key %s: %w", f.cfg.Cert, f.cfg.Key, err)
	}
	// Without a CA file, somebody else answers for the trust.
	f.store.set(&loaded, f.cfg.CA == "")
	f.cert, f.key = cert, key
	f.metrics.steps.WithLabelValues("read the files").Inc()
	f.log.Info("serving the certificate of the files", "not_after", loaded.Leaf.NotAfter)
	return nil
}

// publish puts the CA file into the webhook configuration.
func (f *Files) publish(ctx context.Context) error {
	if f.cfg.CA == "" {
		return nil
	}
	bundle, err := os.ReadFile(f.cfg.CA)
	if err != nil {
		return fmt.Errorf("read webhook authorities: %w", err)
	}
	authorities := decodeCerts(bundle)
	if len(authorities) == 0 {
		return fmt.Errorf("read webhook authorities: %s holds no certificate", f.cfg.CA)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	config, err := f.cfg.Cluster.configuration(ctx)
	if err != nil {
		return err
	}
	wrote, err := f.cfg.Cluster.trust(ctx, config, encodeCerts(authorities...))
	if err != nil {
		return err
	}
	if wrote {
		f.log.Info("published the authorities in the webhook configuration", "webhook_configuration", f.cfg.Cluster.WebhookName)
	}
	f.store.setTrusted(trusts(authorities, f.store.get(), time.Now()))
	return nil
}

// trusts tells whether a chain leads from the certificate to one of the authorities.
func trusts(authorities []*x509.Certificate, certificate *tls.Certificate, now time.Time) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, a := range authorities {
		roots.AddCert(a)
	}
	for _, der := range certificate.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now})
	return err == nil
}
