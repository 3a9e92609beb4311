// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
)

// clock is the time of a test.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

type replica struct {
	*Rotator
	store *Store
}

// authorityTTL is short, for a test that lives through several: each look at what
// is there costs it signatures, which are slow under the race detector.
const authorityTTL = 80 * time.Minute

func newReplica(t *testing.T, api *apiServer, c *clock) replica {
	t.Helper()
	store := &Store{}
	r, err := NewRotator(RotatorConfig{
		Cluster: api.cluster(), Names: names, AuthorityTTL: authorityTTL, LeafTTL: authorityTTL / 4, Settle: 2 * time.Minute,
	}, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c != nil {
		r.now = c.now
	}
	return replica{r, store}
}

// accepted tells whether an API server with this bundle accepts the replica.
func (r replica) accepted(bundle []byte, now time.Time) error {
	cert := r.store.get()
	if cert == nil {
		return errNone
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err := cert.Leaf.Verify(x509.VerifyOptions{
		DNSName: names[0], Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// TestRotationRefusesNobody lives through several authorities with replicas that
// look at random times and restart, and API servers that see the webhook
// configuration late: every handshake at every moment must succeed.
func TestRotationRefusesNobody(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 0))
			c := &clock{at: time.Now()}
			api := newAPIServer()
			replicas := make([]replica, 3)
			for i := range replicas {
				replicas[i] = newReplica(t, api, c)
				_ = replicas[i].look(t.Context())
			}
			const step, lag = 30 * time.Second, 3 // API servers lag by up to 90 s, less than Settle
			seen := [][]byte{api.bundle()}
			authorities, end := map[string]bool{}, c.at.Add(2*authorityTTL)
			for ; c.at.Before(end); c.at = c.at.Add(step) {
				for _, i := range rnd.Perm(len(replicas)) {
					switch n := rnd.IntN(1000); {
					case n < 300: // busy
					case n < 310:
						replicas[i] = newReplica(t, api, c)
						_ = replicas[i].look(t.Context())
					case n < 315:
						api.setSecret(nil)
					default:
						_ = replicas[i].look(t.Context())
					}
				}
				seen = append(seen, api.bundle())
				seen = seen[max(0, len(seen)-lag):]
				for _, bundle := range slices.CompactFunc([][]byte{seen[0], seen[len(seen)-1]}, bytes.Equal) {
					for i, r := range replicas {
						if r.store.get() == nil {
							continue // not ready
						}
						if err := r.accepted(bundle, c.at); err != nil && !firstLook(api, r) {
							t.Fatalf("replica %d is refused %s before the end: %v", i, end.Sub(c.at), err)
						}
					}
				}
				authorities[string(api.data()[keyIssuerCert])] = true
			}
			if len(authorities) < 3 {
				t.Errorf("only %d authorities have been in use", len(authorities))
			}
			if got := len(decodeCerts(api.bundle())); got > 2+maxRetired {
				t.Errorf("%d authorities are in the bundle", got)
			}
		})
	}
}

// firstLook excuses a replica that has just started after the Secret was lost:
// it has nothing else to serve than what not every API server knows yet.
func firstLook(_ *apiServer, r replica) bool {
	cert := r.store.get().Leaf
	return r.now().Sub(cert.NotBefore) < backdate+2*time.Minute && len(r.trustedSince) > 0 && r.restarted(cert)
}

func (r replica) restarted(leaf *x509.Certificate) bool {
	for _, since := range r.trustedSince {
		if r.now().Sub(since) > 2*time.Minute {
			return false
		}
	}
	return leaf != nil
}

func TestFirstCertificate(t *testing.T) {
	t.Parallel()
	api := newAPIServer()
	r := newReplica(t, api, nil)
	if err := r.store.Ready(); !errors.Is(err, errNone) {
		t.Errorf("ready before there is a certificate: %v", err)
	}
	if _, err := r.store.GetCertificate(nil); !errors.Is(err, errNone) {
		t.Errorf("a handshake got %v", err)
	}
	if err := r.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.store.Ready(), r.accepted(api.bundle(), time.Now())); err != nil {
		t.Error(err)
	}
	for _, w := range api.config.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, api.data()[keyBundle]) {
			t.Errorf("webhook %s has another bundle than the secret", w.Name)
		}
	}
	writes := api.written()
	other := newReplica(t, api, nil)
	for range 3 {
		if err := errors.Join(r.look(t.Context()), other.look(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if got := api.written(); got != writes {
		t.Errorf("%d writes although nothing changed", got-writes)
	}
	if !other.store.get().Leaf.Equal(r.store.get().Leaf) {
		t.Error("two replicas serve two certificates")
	}
}

// TestDamage is repaired, whatever the damage is.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*apiServer){
		"secret is lost":    func(a *apiServer) { a.setSecret(nil) },
		"secret is emptied": func(a *apiServer) { a.secret.Data = nil },
		"key of another":    func(a *apiServer) { a.secret.Data[keyLeafKey] = a.secret.Data[keyIssuerKey] },
		"no pem":            func(a *apiServer) { a.secret.Data[keyIssuerKey] = []byte("what is this") },
		"no key":            func(a *apiServer) { delete(a.secret.Data, keyIssuerKey) },
		"bad pem":           func(a *apiServer) { a.secret.Data[keyIssuerKey] = encodePEM("x") },
		"two certificates": func(a *apiServer) {
			a.secret.Data[keyLeafCert] = append(a.secret.Data[keyLeafCert], a.secret.Data[keyIssuerCert]...)
		},
		"no time":           func(a *apiServer) { a.secret.Data[keyRetiredUntil] = []byte("soon") },
		"bundle is emptied": func(a *apiServer) { a.setConfig(nil) },
		"foreign bundle":    func(a *apiServer) { a.setConfig([]byte("whatever")) },
		"webhooks differ":   func(a *apiServer) { a.config.Webhooks[1].ClientConfig.CABundle = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &clock{at: time.Now()}
			api := newAPIServer()
			r := newReplica(t, api, c)
			if err := r.look(t.Context()); err != nil {
				t.Fatal(err)
			}
			damage(api)
			for range 4 { // until a new authority has settled
				if err := r.look(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(r.accepted(api.bundle(), c.at), r.store.Ready()); err != nil {
					t.Fatal(err)
				}
				c.at = c.at.Add(time.Minute)
			}
			if got := string(encodeCerts(r.store.get().Leaf)); got != string(api.data()[keyLeafCert]) {
				t.Error("what is served is not what the secret holds")
			}
		})
	}
}

func encodePEM(content string) []byte {
	return []byte("-----BEGIN PRIVATE KEY-----\n" + "eHg=" + content[:0] + "\n-----END PRIVATE KEY-----\n")
}

// TestNames that change give a new certificate, and replicas that want different
// ones agree on all of them.
func TestNames(t *testing.T) {
	t.Parallel()
	api := newAPIServer()
	a, b := newReplica(t, api, nil), newReplica(t, api, nil)
	b.policy.names = []string{"other.svc", "192.0.2.1", "2001:db8::1"}
	for range 5 {
		if err := errors.Join(a.look(t.Context()), b.look(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range append(b.policy.names, a.policy.names...) {
		for _, r := range []replica{a, b} {
			if err := r.store.get().Leaf.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
	}
	if got := api.written(); got != 3 { // the secret, the configuration, and the secret with more names
		t.Errorf("%d writes", got)
	}
	a.policy.names = []string{"käse.svc"}
	if err := a.look(t.Context()); err == nil {
		t.Error("a name that no certificate can have is no error")
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(*apiServer)
		says  string
	}{
		"no configuration": {func(a *apiServer) { a.config = nil }, "not found"},
		"no webhooks":      {func(a *apiServer) { a.config.Webhooks = nil }, "has no webhooks"},
		"api server away":  {func(a *apiServer) { a.down = errors.New("connection refused") }, "connection refused"},
		"not allowed": {func(a *apiServer) { a.setConfig(nil); a.denied = errors.New("forbidden") },
			"write the authorities to webhook configuration podplane-injector: forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newAPIServer()
			r := newReplica(t, api, nil)
			if err := r.look(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := r.store.get()
			tc.spoil(api)
			err := r.look(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
			if r.store.get() != before {
				t.Error("the certificate is not served any more")
			}
			wantReady := name == "no webhooks" || name == "api server away"
			if ready := r.store.Ready() == nil; ready != wantReady {
				t.Errorf("ready is %v", ready)
			}
		})
	}
}

// TestRace lets two replicas make the first certificate at the same time.
func TestRace(t *testing.T) {
	t.Parallel()
	api := newAPIServer()
	a, b := newReplica(t, api, nil), newReplica(t, api, nil)
	config, err := api.cluster().configuration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	// b has read the configuration before a wrote it.
	if _, err := b.cfg.Cluster.trust(t.Context(), config, []byte("older")); !isRace(err) {
		t.Errorf("an older bundle over a newer one: %v", err)
	}
	if err := b.cfg.Cluster.keep(t.Context(), &corev1.Secret{}, nil); !isRace(err) {
		t.Errorf("a second secret: %v", err)
	}
}

// TestRun sees a change at once, and ends.
func TestRun(t *testing.T) {
	t.Parallel()
	api := newAPIServer()
	store := &Store{}
	registry := prometheus.NewRegistry()
	r, err := NewRotator(RotatorConfig{Cluster: api.cluster(), Names: names, Interval: time.Hour, Metrics: registry}, store, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	await(t, "ready", func() bool { return store.Ready() == nil })
	await(t, "watching", func() bool { return api.watched() > 0 })
	api.setConfig(nil)
	await(t, "published again", func() bool { return len(api.bundle()) > 0 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 3 {
		t.Errorf("%d families: %v", len(families), err)
	}
	if _, err := NewRotator(RotatorConfig{Cluster: api.cluster(), Names: names, Metrics: registry}, store, nil); err == nil {
		t.Error("metrics were registered twice")
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	limit, tick := time.After(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-limit:
			t.Fatalf("not %s", what)
		case <-tick.C:
		}
	}
}

func TestRotatorConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]RotatorConfig{
		"no names":   {},
		"empty name": {Names: []string{""}},
		"short ca":   {Names: names, AuthorityTTL: time.Hour, LeafTTL: time.Hour},
		"no time":    {Names: names, AuthorityTTL: time.Minute, LeafTTL: time.Second},
		"negative":   {Names: names, Settle: -1},
	} {
		if _, err := NewRotator(cfg, &Store{}, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestExpiredStore is not ready.
func TestExpiredStore(t *testing.T) {
	t.Parallel()
	ca, err := newAuthority(time.Now().Add(-2*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var store Store
	store.set(ca.tls(), true)
	if err := store.Ready(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\neHg=\n-----END CERTIFICATE-----\n"), []byte("x"), []byte("2026-01-01T00:00:00Z"))
	f.Fuzz(func(t *testing.T, cert, key, until []byte) {
		s, err := decode(map[string][]byte{keyLeafCert: cert, keyLeafKey: key, keyIssuerCert: cert, keyIssuerKey: key, keyRetired: cert, keyRetiredUntil: until})
		if err != nil {
			return
		}
		if _, err := s.encode(); err != nil {
			t.Error(err)
		}
	})
}
