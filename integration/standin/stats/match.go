// SPDX-License-Identifier: MPL-2.0

package stats

import (
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"podplane/integration/standin/strmatch"
)

// nameFilter says which statistics exist at all.
type nameFilter struct {
	rejectAll bool
	include   []strmatch.Func // nil: everything
	exclude   []strmatch.Func
}

func newNameFilter(m *metricsv3.StatsMatcher) (*nameFilter, error) {
	f := &nameFilter{}
	var err error
	switch p := m.GetStatsMatcher().(type) {
	case nil:
	case *metricsv3.StatsMatcher_RejectAll:
		f.rejectAll = p.RejectAll
	case *metricsv3.StatsMatcher_InclusionList:
		f.include, err = newStringMatches(p.InclusionList.GetPatterns())
	case *metricsv3.StatsMatcher_ExclusionList:
		f.exclude, err = newStringMatches(p.ExclusionList.GetPatterns())
	}
	return f, err
}

func newStringMatches(patterns []*matcherv3.StringMatcher) ([]strmatch.Func, error) {
	matches := make([]strmatch.Func, 0, len(patterns))
	for _, p := range patterns {
		m, err := strmatch.New(p)
		if err != nil {
			return nil, err
		}
		matches = append(matches, m)
	}
	return matches, nil
}

func (f *nameFilter) allows(name string) bool {
	if f.rejectAll {
		return false
	}
	for _, m := range f.exclude {
		if m(name) {
			return false
		}
	}
	if f.include == nil {
		return true
	}
	for _, m := range f.include {
		if m(name) {
			return true
		}
	}
	return false
}
