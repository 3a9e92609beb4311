// SPDX-License-Identifier: MPL-2.0

//nolint:staticcheck // the deprecated forms of rules are still sent.
package traffic

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"podplane/integration/standin/strmatch"
)

// subject is what a rule judges: a connection, and with HTTP the request on it.
type subject struct {
	conn     *downstream
	request  *http.Request               // nil on a network filter
	metadata map[string]*structpb.Struct // dynamic metadata by filter
}

// rule is a compiled permission or principal.
type rule func(*subject) bool

// rbacEngine judges by the policies of one RBAC configuration.
// Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/rbac/v3/rbac.proto
type rbacEngine struct {
	action   rbacv3.RBAC_Action
	policies []rbacPolicy // sorted by name, so that the one reported is always the same
}

type rbacPolicy struct {
	name                  string
	permission, principal rule
}

// newRBAC compiles rules; nil means that no rules are enforced.
func newRBAC(r *rbacv3.RBAC) (*rbacEngine, error) {
	if r == nil {
		return nil, nil
	}
	e := &rbacEngine{action: r.GetAction()}
	for name, p := range r.GetPolicies() {
		permission, err := anyOf(p.GetPermissions(), newPermission)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
		principal, err := anyOf(p.GetPrincipals(), newPrincipal)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
		e.policies = append(e.policies, rbacPolicy{name: name, permission: permission, principal: principal})
	}
	slices.SortFunc(e.policies, func(a, b rbacPolicy) int { return strings.Compare(a.name, b.name) })
	return e, nil
}

// allows judges, and names the policy that matched ("none" without one).
func (e *rbacEngine) allows(s *subject) (bool, string) {
	if e == nil {
		return true, "none"
	}
	matched := "none"
	for _, p := range e.policies {
		if p.permission(s) && p.principal(s) {
			matched = p.name
			break
		}
	}
	switch e.action {
	case rbacv3.RBAC_ALLOW:
		return matched != "none", matched
	case rbacv3.RBAC_DENY:
		return matched == "none", matched
	default: // LOG
		return true, matched
	}
}

// anyOf and allOf compile a list.
func anyOf[T any](items []T, compile func(T) (rule, error)) (rule, error) {
	rules, err := compileAll(items, compile)
	return func(s *subject) bool {
		return slices.ContainsFunc(rules, func(r rule) bool { return r(s) })
	}, err
}

func allOf[T any](items []T, compile func(T) (rule, error)) (rule, error) {
	rules, err := compileAll(items, compile)
	return func(s *subject) bool {
		return !slices.ContainsFunc(rules, func(r rule) bool { return !r(s) })
	}, err
}

func compileAll[T any](items []T, compile func(T) (rule, error)) ([]rule, error) {
	var rules []rule
	for _, item := range items {
		r, err := compile(item)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func not(r rule, err error) (rule, error) {
	return func(s *subject) bool { return !r(s) }, err
}

func newPermission(p *rbacv3.Permission) (rule, error) {
	switch v := p.GetRule().(type) {
	case *rbacv3.Permission_AndRules:
		return allOf(v.AndRules.GetRules(), newPermission)
	case *rbacv3.Permission_OrRules:
		return anyOf(v.OrRules.GetRules(), newPermission)
	case *rbacv3.Permission_NotRule:
		return not(newPermission(v.NotRule))
	case *rbacv3.Permission_Any:
		return func(*subject) bool { return v.Any }, nil
	case *rbacv3.Permission_Header:
		match, err := newHeaderMatch(v.Header)
		return ofRequest(match), err
	case *rbacv3.Permission_UrlPath:
		return ofPath(v.UrlPath)
	case *rbacv3.Permission_DestinationIp:
		prefix, err := cidr(v.DestinationIp)
		return func(s *subject) bool { return prefix.Contains(s.conn.local.Addr()) }, err
	case *rbacv3.Permission_DestinationPort:
		return func(s *subject) bool { return uint32(s.conn.local.Port()) == v.DestinationPort }, nil
	case *rbacv3.Permission_DestinationPortRange:
		low, high := v.DestinationPortRange.GetStart(), v.DestinationPortRange.GetEnd()
		return func(s *subject) bool {
			port := int32(s.conn.local.Port())
			return port >= low && port < high
		}, nil
	case *rbacv3.Permission_Metadata:
		return ofMetadata(v.Metadata)
	case *rbacv3.Permission_RequestedServerName:
		match, err := strmatch.New(v.RequestedServerName)
		return func(s *subject) bool { return match(s.conn.sni) }, err
	default:
		return nil, fmt.Errorf("permission %T is not supported", v)
	}
}

func newPrincipal(p *rbacv3.Principal) (rule, error) {
	switch v := p.GetIdentifier().(type) {
	case *rbacv3.Principal_AndIds:
		return allOf(v.AndIds.GetIds(), newPrincipal)
	case *rbacv3.Principal_OrIds:
		return anyOf(v.OrIds.GetIds(), newPrincipal)
	case *rbacv3.Principal_NotId:
		return not(newPrincipal(v.NotId))
	case *rbacv3.Principal_Any:
		return func(*subject) bool { return v.Any }, nil
	case *rbacv3.Principal_Authenticated_:
		return ofPrincipal(v.Authenticated.GetPrincipalName())
	case *rbacv3.Principal_SourceIp:
		prefix, err := cidr(v.SourceIp)
		return ofSource(prefix), err
	case *rbacv3.Principal_DirectRemoteIp:
		prefix, err := cidr(v.DirectRemoteIp)
		return ofSource(prefix), err
	case *rbacv3.Principal_RemoteIp:
		prefix, err := cidr(v.RemoteIp)
		return ofSource(prefix), err
	case *rbacv3.Principal_Header:
		match, err := newHeaderMatch(v.Header)
		return ofRequest(match), err
	case *rbacv3.Principal_UrlPath:
		return ofPath(v.UrlPath)
	case *rbacv3.Principal_Metadata:
		return ofMetadata(v.Metadata)
	default:
		return nil, fmt.Errorf("principal %T is not supported", v)
	}
}

// ofPrincipal matches the peer's certificate; without a matcher any authenticated peer will do.
func ofPrincipal(m *matcherv3.StringMatcher) (rule, error) {
	if m == nil {
		return func(s *subject) bool { return s.conn.peer() != nil }, nil
	}
	match, err := strmatch.New(m)
	return func(s *subject) bool { return slices.ContainsFunc(s.conn.principals(), match) }, err
}

func ofSource(prefix netip.Prefix) rule {
	return func(s *subject) bool { return prefix.Contains(s.conn.remote.Addr()) }
}

// ofRequest never holds on a bare connection.
func ofRequest(match requestMatch) rule {
	return func(s *subject) bool { return s.request != nil && match(s.request) }
}

// ofPath matches the path without query and fragment.
func ofPath(m *matcherv3.PathMatcher) (rule, error) {
	match, err := strmatch.New(m.GetPath())
	return ofRequest(func(r *http.Request) bool {
		path, _, _ := strings.Cut(r.URL.RequestURI(), "?")
		path, _, _ = strings.Cut(path, "#")
		return match(path)
	}), err
}

// ofMetadata matches what filters noted about the request.
func ofMetadata(m *matcherv3.MetadataMatcher) (rule, error) {
	match, err := newValueMatch(m.GetValue())
	return func(s *subject) bool {
		value := structpb.NewStructValue(s.metadata[m.GetFilter()])
		for _, segment := range m.GetPath() {
			value = value.GetStructValue().GetFields()[segment.GetKey()]
		}
		return match(value) != m.GetInvert()
	}, err
}

// newValueMatch compiles the match of one metadata value; a value that is missing matches nothing.
func newValueMatch(m *matcherv3.ValueMatcher) (func(*structpb.Value) bool, error) {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.ValueMatcher_StringMatch:
		match, err := strmatch.New(p.StringMatch)
		return func(v *structpb.Value) bool {
			s, ok := v.GetKind().(*structpb.Value_StringValue)
			return ok && match(s.StringValue)
		}, err
	case *matcherv3.ValueMatcher_BoolMatch:
		return func(v *structpb.Value) bool {
			b, ok := v.GetKind().(*structpb.Value_BoolValue)
			return ok && b.BoolValue == p.BoolMatch
		}, nil
	case *matcherv3.ValueMatcher_NullMatch_:
		return func(v *structpb.Value) bool {
			_, ok := v.GetKind().(*structpb.Value_NullValue)
			return ok
		}, nil
	case *matcherv3.ValueMatcher_PresentMatch:
		return func(v *structpb.Value) bool { return (v.GetKind() != nil) == p.PresentMatch }, nil
	case *matcherv3.ValueMatcher_ListMatch:
		match, err := newValueMatch(p.ListMatch.GetOneOf())
		return func(v *structpb.Value) bool { return slices.ContainsFunc(v.GetListValue().GetValues(), match) }, err
	default:
		return nil, fmt.Errorf("value matcher %T is not supported", p)
	}
}
