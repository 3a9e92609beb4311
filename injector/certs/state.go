// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// The keys of the Secret. tls.crt, tls.key and ca.crt are where other programs
// look for them: https://kubernetes.io/docs/concepts/configuration/secret/#tls-secrets.
const (
	keyLeafCert     = "tls.crt"
	keyLeafKey      = "tls.key"
	keyBundle       = "ca.crt"
	keyIssuerCert   = "issuer.crt"
	keyIssuerKey    = "issuer.key"
	keyNextCert     = "next.crt"
	keyNextKey      = "next.key"
	keyRetired      = "retired.crt"
	keyRetiredUntil = "retired-until"
)

// maxRetired bounds how many authorities stay in the bundle, in case something
// makes new ones all the time.
const maxRetired = 8

// state is what the Secret holds.
type state struct {
	leaf   pair
	issuer pair // signs leaves
	next   pair // is in the bundle already and signs later; may be absent
	// retired signed leaves that were valid until retiredUntil.
	retired      []*x509.Certificate
	retiredUntil time.Time
}

// bundle are the authorities that API servers have to trust, in the form of the
// webhook configuration.
func (s state) bundle() []byte {
	var out []byte
	for _, authority := range []pair{s.issuer, s.next} {
		if authority.cert != nil {
			out = append(out, encodeCerts(authority.cert)...)
		}
	}
	return append(out, encodeCerts(s.retired...)...)
}

// encode gives the Secret's data.
func (s state) encode() (map[string][]byte, error) {
	data := map[string][]byte{keyBundle: s.bundle()}
	for _, p := range []struct {
		pair      pair
		cert, key string
	}{{s.leaf, keyLeafCert, keyLeafKey}, {s.issuer, keyIssuerCert, keyIssuerKey}, {s.next, keyNextCert, keyNextKey}} {
		cert, key, err := p.pair.encode()
		if err != nil {
			return nil, err
		}
		if cert != nil {
			data[p.cert], data[p.key] = cert, key
		}
	}
	if len(s.retired) > 0 {
		data[keyRetired] = encodeCerts(s.retired...)
		data[keyRetiredUntil] = []byte(s.retiredUntil.UTC().Format(time.RFC3339))
	}
	return data, nil
}

// decode reads the Secret's data. No data at all is an empty state.
func decode(data map[string][]byte) (state, error) {
	var s state
	for _, p := range []struct {
		pair      *pair
		cert, key string
	}{{&s.leaf, keyLeafCert, keyLeafKey}, {&s.issuer, keyIssuerCert, keyIssuerKey}, {&s.next, keyNextCert, keyNextKey}} {
		var err error
		if *p.pair, err = decodePair(data[p.cert], data[p.key]); err != nil {
			return state{}, fmt.Errorf("%s: %w", p.cert, err)
		}
	}
	if until, ok := data[keyRetiredUntil]; ok {
		var err error
		if s.retiredUntil, err = time.Parse(time.RFC3339, string(until)); err != nil {
			return state{}, fmt.Errorf("%s: is not a time", keyRetiredUntil)
		}
		s.retired = decodeCerts(data[keyRetired])
	}
	return s, nil
}

// policy says how long certificates last and for what names.
type policy struct {
	names         []string
	caTTL, leafTL time.Duration
	// settle is how long an authority is trusted before it signs.
	settle time.Duration
}

// What advance did, for the log and the metrics.
const (
	stepNewAuthority  = "made an authority"
	stepNextAuthority = "made the authority that comes next"
	stepSwitched      = "switched to the next authority"
	stepForgotten     = "removed authorities that signed nothing valid"
	stepNewLeaf       = "made a certificate"
)

// advance gives the state that has to follow s at a time. settled tells whether
// every API server can be taken to trust an authority. steps is empty if s stays.
//
// The authority changes in three writes: the next one is made and so comes into
// the bundle; when it is settled it signs a leaf and the old one is retired;
// when the old one's last leaf has ended it leaves the bundle.
func (p policy) advance(s state, now time.Time, settled func(*x509.Certificate) bool) (_ state, steps []string, err error) {
	if s.issuer.ended(now) {
		steps = append(steps, stepNewAuthority)
		if s.issuer, err = newAuthority(now, p.caTTL); err != nil {
			return state{}, nil, err
		}
		s.next = pair{}
	}
	if len(s.retired) > 0 && !now.Before(s.retiredUntil) {
		steps = append(steps, stepForgotten)
		s.retired, s.retiredUntil = nil, time.Time{}
	}
	switch {
	case s.next.cert != nil && (s.next.ended(now) || !settled(s.next.cert)):
		if s.next.ended(now) {
			s.next = pair{}
			steps = append(steps, stepForgotten)
		}
	case s.next.cert != nil:
		steps = append(steps, stepSwitched)
		s.retire(now.Add(p.leafTL), s.issuer.cert)
		s.issuer, s.next = s.next, pair{}
	case s.issuer.cert.NotAfter.Sub(now) < p.nextAt():
		steps = append(steps, stepNextAuthority)
		if s.next, err = newAuthority(now, p.caTTL); err != nil {
			return state{}, nil, err
		}
	}
	if !s.leaf.signed(s.issuer, p.names) || s.leaf.cert.NotAfter.Sub(now) < p.renewAt(s.issuer, now) {
		steps = append(steps, stepNewLeaf)
		if s.leaf, err = newLeaf(s.issuer, p.leafNames(s, now), now, p.leafTL); err != nil {
			return state{}, nil, err
		}
	}
	return s, steps, nil
}

// maxNames bounds the names of a certificate.
const maxNames = 64

// leafNames are the names of the next leaf. Where the present one would do but
// for its names, those stay: another replica, of another version or with other
// settings, may need them, and two that took them from each other would not end.
func (p policy) leafNames(s state, now time.Time) []string {
	names := slices.Clone(p.names)
	if s.leaf.signed(s.issuer, nil) && s.leaf.cert.NotAfter.Sub(now) >= p.renewAt(s.issuer, now) {
		for _, name := range s.leaf.allNames() {
			if len(names) < maxNames && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// nextAt is the rest of an authority's life in which its successor is prepared:
// a fifth, but always long enough for leaves to live as long as they should, and
// for the successor to settle.
func (p policy) nextAt() time.Duration { return max(p.caTTL/5, 2*p.leafTL, 2*p.settle) }

// renewAt is the rest of a leaf's life in which it is replaced: a third. A leaf
// that ends with its authority cannot be replaced by a longer one.
func (p policy) renewAt(issuer pair, now time.Time) time.Duration {
	return min(p.leafTL, issuer.cert.NotAfter.Sub(now)) / 3
}

// retire keeps authorities, the newest first, in the bundle until a time.
func (s *state) retire(until time.Time, authorities ...*x509.Certificate) {
	s.retired = append(slices.Clone(authorities), s.retired...)
	if len(s.retired) > maxRetired {
		s.retired = s.retired[:maxRetired]
	}
	if until.After(s.retiredUntil) {
		s.retiredUntil = until
	}
}
