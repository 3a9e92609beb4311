// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"cmp"
	"slices"
	"sync"
)

// secretsKept bounds the memory for secrets. Those in use are learned last, and
// what a server may still repeat of an older one is of no use to anybody.
const secretsKept = 64

// secrets are those that a session has had to do with: tokens in use, under
// trial and given up, and what was presented for them. A server may repeat any of
// them in its words. The zero value knows none.
type secrets struct {
	mu    sync.Mutex
	known []string // the one learned last is last
}

// learn adds a secret; "" is none.
func (s *secrets) learn(secret string) {
	if secret == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = slices.DeleteFunc(s.known, func(k string) bool { return k == secret })
	s.known = append(s.known, secret)
	if over := len(s.known) - secretsKept; over > 0 {
		s.known = slices.Delete(s.known, 0, over)
	}
}

// redact cuts the secrets out of a text.
func (s *secrets) redact(text string) string {
	s.mu.Lock()
	known := slices.Clone(s.known)
	s.mu.Unlock()
	// A secret may be a part of another one, whose rest would be left to be read.
	slices.SortFunc(known, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return redact(text, known...)
}

// learnFrom makes the material's secrets known.
func (s *secrets) learnFrom(m material) {
	s.learn(m.static.secret)
	s.learn(m.bearer)
}
