// SPDX-License-Identifier: MPL-2.0

package server

import "podplane/integration/standin/stats"

// scopes are statistics scopes that come and go by name. Only the ADS client's
// goroutine uses them.
type scopes struct {
	store  *stats.Store
	prefix string
	open   map[string]*stats.Scope
}

func newScopes(store *stats.Store, prefix string) *scopes {
	return &scopes{store: store, prefix: prefix, open: map[string]*stats.Scope{}}
}

// get opens the scope of a name on first use.
func (s *scopes) get(name string) *stats.Scope {
	if scope, ok := s.open[name]; ok {
		return scope
	}
	scope := s.store.Scope(s.prefix + name + ".")
	s.open[name] = scope
	return scope
}

// drop gives the statistics of a name up.
func (s *scopes) drop(name string) {
	if scope, ok := s.open[name]; ok {
		scope.Close()
		delete(s.open, name)
	}
}
