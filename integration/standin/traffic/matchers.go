// SPDX-License-Identifier: MPL-2.0

//nolint:staticcheck // the deprecated forms of header matchers are still sent.
package traffic

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"podplane/integration/standin/strmatch"
)

// requestMatch says whether a request satisfies a matcher.
type requestMatch func(*http.Request) bool

// headerValue returns a header joined with commas as Envoy matches it, including the pseudo headers.
func headerValue(r *http.Request, name string) (string, bool) {
	switch strings.ToLower(name) {
	case ":path":
		return r.URL.RequestURI(), true
	case ":method":
		return r.Method, true
	case ":authority", "host":
		return r.Host, r.Host != ""
	case ":scheme":
		if r.TLS != nil {
			return "https", true
		}
		return "http", true
	}
	values, ok := r.Header[http.CanonicalHeaderKey(name)]
	return strings.Join(values, ","), ok
}

func newHeaderMatch(m *routev3.HeaderMatcher) (requestMatch, error) {
	name, missingIsEmpty := m.GetName(), m.GetTreatMissingHeaderAsEmpty()
	if p, ok := m.GetHeaderMatchSpecifier().(*routev3.HeaderMatcher_PresentMatch); ok {
		want := p.PresentMatch != m.GetInvertMatch()
		return func(r *http.Request) bool {
			_, present := headerValue(r, name)
			return present == want
		}, nil
	}
	match, err := newHeaderValueMatch(m)
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) bool {
		value, present := headerValue(r, name)
		if !present && !missingIsEmpty {
			return false
		}
		return match(value) != m.GetInvertMatch()
	}, nil
}

// newHeaderValueMatch turns each form, of which some are deprecated, into a match on the value.
func newHeaderValueMatch(m *routev3.HeaderMatcher) (strmatch.Func, error) {
	switch p := m.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_StringMatch:
		return strmatch.New(p.StringMatch)
	case *routev3.HeaderMatcher_ExactMatch:
		return func(s string) bool { return s == p.ExactMatch }, nil
	case *routev3.HeaderMatcher_PrefixMatch:
		return func(s string) bool { return strings.HasPrefix(s, p.PrefixMatch) }, nil
	case *routev3.HeaderMatcher_SuffixMatch:
		return func(s string) bool { return strings.HasSuffix(s, p.SuffixMatch) }, nil
	case *routev3.HeaderMatcher_ContainsMatch:
		return func(s string) bool { return strings.Contains(s, p.ContainsMatch) }, nil
	case *routev3.HeaderMatcher_SafeRegexMatch:
		re, err := strmatch.FullRegex(p.SafeRegexMatch.GetRegex())
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	case *routev3.HeaderMatcher_RangeMatch:
		return func(s string) bool {
			n, err := strconv.ParseInt(s, 10, 64)
			return err == nil && n >= p.RangeMatch.GetStart() && n < p.RangeMatch.GetEnd()
		}, nil
	case nil:
		return nil, fmt.Errorf("header matcher for %q has no specifier", m.GetName())
	default:
		return nil, fmt.Errorf("header matcher %T is not supported", p)
	}
}

func newQueryMatch(m *routev3.QueryParameterMatcher) (func(url.Values) bool, error) {
	name := m.GetName()
	switch p := m.GetQueryParameterMatchSpecifier().(type) {
	case *routev3.QueryParameterMatcher_PresentMatch:
		return func(q url.Values) bool { return q.Has(name) == p.PresentMatch }, nil
	case *routev3.QueryParameterMatcher_StringMatch:
		match, err := strmatch.New(p.StringMatch)
		if err != nil {
			return nil, err
		}
		return func(q url.Values) bool { return q.Has(name) && match(q.Get(name)) }, nil
	default:
		return func(q url.Values) bool { return q.Has(name) }, nil
	}
}

// rewriter replaces what a regex matches; Envoy writes groups as \1.
type rewriter struct {
	re   *regexp.Regexp
	with string
}

func newRewriter(m *matcherv3.RegexMatchAndSubstitute) (*rewriter, error) {
	re, err := regexp.Compile(m.GetPattern().GetRegex())
	if err != nil {
		return nil, fmt.Errorf("invalid regex %q: %w", m.GetPattern().GetRegex(), err)
	}
	with := strings.ReplaceAll(m.GetSubstitution(), "$", "$$")
	with = regexp.MustCompile(`\\(\d)`).ReplaceAllString(with, "$${$1}")
	return &rewriter{re: re, with: strings.ReplaceAll(with, `\\`, `\`)}, nil
}

func (w *rewriter) apply(s string) string { return w.re.ReplaceAllString(s, w.with) }
