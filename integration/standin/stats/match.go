// SPDX-License-Identifier: MPL-2.0

package stats

import (
	"fmt"
	"regexp"
	"strings"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

type stringMatch func(string) bool

// newStringMatch compiles Envoy's StringMatcher; regexes match the whole string.
func newStringMatch(m *matcherv3.StringMatcher) (stringMatch, error) {
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		want := fold(p.Exact)
		return func(s string) bool { return fold(s) == want }, nil
	case *matcherv3.StringMatcher_Prefix:
		want := fold(p.Prefix)
		return func(s string) bool { return strings.HasPrefix(fold(s), want) }, nil
	case *matcherv3.StringMatcher_Suffix:
		want := fold(p.Suffix)
		return func(s string) bool { return strings.HasSuffix(fold(s), want) }, nil
	case *matcherv3.StringMatcher_Contains:
		want := fold(p.Contains)
		return func(s string) bool { return strings.Contains(fold(s), want) }, nil
	case *matcherv3.StringMatcher_SafeRegex:
		re, err := regexp.Compile("^(?:" + p.SafeRegex.GetRegex() + ")$")
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	default:
		return nil, fmt.Errorf("string matcher %T is not supported", p)
	}
}

// nameFilter says which statistics exist at all.
type nameFilter struct {
	rejectAll bool
	include   []stringMatch // nil: everything
	exclude   []stringMatch
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

func newStringMatches(patterns []*matcherv3.StringMatcher) ([]stringMatch, error) {
	matches := make([]stringMatch, 0, len(patterns))
	for _, p := range patterns {
		m, err := newStringMatch(p)
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
