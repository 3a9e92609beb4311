// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The defaults of [RotatorConfig].
const (
	DefaultAuthorityTTL = 365 * 24 * time.Hour
	DefaultLeafTTL      = 3 * 24 * time.Hour
	DefaultSettle       = 2 * time.Minute
	DefaultInterval     = 15 * time.Second
)

// callTimeout bounds one look at the API server with all that follows from it.
const callTimeout = 20 * time.Second

// RotatorConfig says what certificates to keep.
type RotatorConfig struct {
	// Cluster is where they are kept.
	Cluster Cluster
	// Names are the DNS names that API servers connect to. Required.
	Names []string
	// AuthorityTTL is the life of an authority. 0 is DefaultAuthorityTTL. It must
	// be at least four times that of a leaf, and four times Settle.
	AuthorityTTL time.Duration
	// LeafTTL is the life of a certificate. 0 is DefaultLeafTTL.
	LeafTTL time.Duration
	// Settle is how long an authority has to be in the webhook configuration
	// before a certificate of it replaces another. API servers watch the
	// configuration, so seconds would do. 0 is DefaultSettle.
	Settle time.Duration
	// Interval is the time between two looks when nothing is seen to change. 0 is
	// DefaultInterval.
	Interval time.Duration
	// Metrics takes the metrics; nil means none.
	Metrics prometheus.Registerer
}

// Rotator makes, rotates and publishes the certificate of a [Store]. It is made
// by NewRotator, and Run is called once.
type Rotator struct {
	cfg     RotatorConfig
	policy  policy
	store   *Store
	log     hclog.Logger
	metrics *rotations
	now     func() time.Time

	// trustedSince has the authorities that are in the webhook configuration, by
	// the hash of the certificate, and since when this replica knows.
	trustedSince map[[sha256.Size]byte]time.Time
	lastProblem  string
}

// NewRotator checks the configuration. The store has no certificate before Run.
func NewRotator(cfg RotatorConfig, store *Store, log hclog.Logger) (*Rotator, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	for field, fallback := range map[*time.Duration]time.Duration{
		&cfg.AuthorityTTL: DefaultAuthorityTTL, &cfg.LeafTTL: DefaultLeafTTL,
		&cfg.Settle: DefaultSettle, &cfg.Interval: DefaultInterval,
	} {
		if *field == 0 {
			*field = fallback
		}
		if *field < 0 {
			return nil, errors.New("certs: a time of the rotator is negative")
		}
	}
	switch {
	case len(cfg.Names) == 0 || slices.Contains(cfg.Names, ""):
		return nil, errors.New("certs: the rotator needs DNS names")
	case cfg.AuthorityTTL < 4*cfg.Settle:
		return nil, fmt.Errorf("certs: authorities that last %s have no time to be known everywhere: at least %s", cfg.AuthorityTTL, 4*cfg.Settle)
	case cfg.AuthorityTTL < 4*cfg.LeafTTL:
		return nil, fmt.Errorf("certs: authorities that last %s cannot sign certificates that last %s: at most a quarter", cfg.AuthorityTTL, cfg.LeafTTL)
	}
	metrics, err := newRotations(cfg.Metrics, store)
	if err != nil {
		return nil, err
	}
	return &Rotator{
		cfg:          cfg,
		policy:       policy{names: cfg.Names, caTTL: cfg.AuthorityTTL, leafTL: cfg.LeafTTL, settle: cfg.Settle},
		store:        store,
		log:          log,
		metrics:      metrics,
		now:          time.Now,
		trustedSince: map[[sha256.Size]byte]time.Time{},
	}, nil
}

// Run keeps the certificate until ctx ends, and returns nil then. Problems are
// logged and retried: a certificate that is served stays.
func (r *Rotator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	watchers, err := r.cfg.Cluster.watchers(func() {
		select {
		case changed <- struct{}{}:
		default: // a look is due already
		}
	})
	if err != nil {
		cancel()
		return err
	}
	var running sync.WaitGroup
	for _, w := range watchers {
		running.Go(func() { w.RunWithContext(ctx) })
	}
	defer running.Wait()
	defer cancel()

	const firstRetry = 200 * time.Millisecond
	retry := firstRetry
	for {
		wait := r.cfg.Interval
		if err := r.look(ctx); err != nil {
			wait, retry = retry, min(2*retry, r.cfg.Interval)
			r.report(ctx, err)
		} else {
			retry = firstRetry
			r.lastProblem = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(wait):
		}
	}
}

// report logs a problem once, and lost races not at all: they are how replicas
// agree on who writes.
func (r *Rotator) report(ctx context.Context, err error) {
	if ctx.Err() != nil || isRace(err) {
		return
	}
	r.metrics.errors.Inc()
	if problem := err.Error(); problem != r.lastProblem {
		r.lastProblem = problem
		r.log.Warn("the webhook's certificate cannot be kept up to date, retrying", "error", problem)
	}
}

// look brings Secret, webhook configuration and store to where they should be.
// The order matters: see the package's comment.
func (r *Rotator) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	config, err := r.cfg.Cluster.configuration(ctx)
	if err != nil {
		if apierrors.IsNotFound(err) {
			r.store.setTrusted(false)
		}
		return err
	}
	kept, err := r.keepSecret(ctx, config)
	if err != nil {
		return err
	}
	wrote, err := r.cfg.Cluster.trust(ctx, config, kept.bundle())
	if err != nil {
		r.observe(trustedByAll(config))
		if current := r.store.get(); current != nil && !isRace(err) {
			r.store.setTrusted(trusts(decodeCerts(trustedByAll(config)), current, r.now()))
		}
		return err
	}
	if wrote {
		r.log.Info("published the authorities in the webhook configuration", "webhook_configuration", r.cfg.Cluster.WebhookName)
	}
	r.observe(kept.bundle())
	r.serve(kept)
	return nil
}

// keepSecret reads the Secret, advances what is in it, and writes it if it changed.
func (r *Rotator) keepSecret(ctx context.Context, config *admissionv1.MutatingWebhookConfiguration) (state, error) {
	secret, err := r.cfg.Cluster.secret(ctx)
	if err != nil {
		return state{}, err
	}
	now := r.now()
	before, err := decode(secret.Data)
	if err != nil {
		r.log.Warn("the secret with the certificates is damaged and made anew", "secret", r.cfg.Cluster.SecretName, "reason", err.Error())
		before = state{}
	}
	if before.issuer.cert == nil {
		// Replicas may still serve what a lost Secret held.
		before.adopt(decodeCerts(trustedByAll(config)), now, now.Add(r.policy.leafTL))
	}
	after, steps, err := r.policy.advance(before, now, r.settled)
	if err != nil || len(steps) == 0 {
		return after, err
	}
	data, err := after.encode()
	if err != nil {
		return state{}, err
	}
	if err := r.cfg.Cluster.keep(ctx, secret, data); err != nil {
		return state{}, err
	}
	for _, step := range steps {
		r.metrics.steps.WithLabelValues(step).Inc()
	}
	r.log.Info("rotated the webhook's certificates", "steps", strings.Join(steps, ", "), "not_after", after.leaf.cert.NotAfter)
	return after, nil
}

// adopt keeps foreign authorities in the bundle for a while.
func (s *state) adopt(authorities []*x509.Certificate, now, until time.Time) {
	authorities = slices.DeleteFunc(authorities, func(a *x509.Certificate) bool { return !a.IsCA || !now.Before(a.NotAfter) })
	s.retire(until, authorities...)
}

// trustedByAll is the CA bundle of the configuration, if its webhooks agree.
func trustedByAll(config *admissionv1.MutatingWebhookConfiguration) []byte {
	bundle := config.Webhooks[0].ClientConfig.CABundle
	for _, w := range config.Webhooks[1:] {
		if string(w.ClientConfig.CABundle) != string(bundle) {
			return nil
		}
	}
	return bundle
}

// observe notes which authorities are in the webhook configuration now.
func (r *Rotator) observe(bundle []byte) {
	now := r.now()
	seen := map[[sha256.Size]byte]time.Time{}
	for _, authority := range decodeCerts(bundle) {
		id := sha256.Sum256(authority.Raw)
		seen[id] = now
		if since, ok := r.trustedSince[id]; ok {
			seen[id] = since
		}
	}
	r.trustedSince = seen
}

// settled tells whether an authority has been trusted for long enough.
func (r *Rotator) settled(authority *x509.Certificate) bool {
	since, trusted := r.trustedSince[sha256.Sum256(authority.Raw)]
	return trusted && r.now().Sub(since) >= r.cfg.Settle
}

// serve takes the leaf into use if that refuses nobody.
func (r *Rotator) serve(kept state) {
	current := r.store.get()
	if current != nil && current.Leaf.Equal(kept.leaf.cert) {
		r.store.setTrusted(true)
		return
	}
	if current != nil && current.Leaf.CheckSignatureFrom(kept.issuer.cert) != nil &&
		trusts(decodeCerts(kept.bundle()), current, r.now()) && !r.settled(kept.issuer.cert) {
		r.store.setTrusted(true)
		return // the API servers may not know the new authority yet
	}
	r.store.set(kept.leaf.tls(), true)
	r.log.Info("serving a new certificate", "not_after", kept.leaf.cert.NotAfter)
}
