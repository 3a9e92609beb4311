// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"podplane/integration/standin/strmatch"
)

// routeTable is a compiled route configuration.
type routeTable struct {
	name       string
	hosts      map[string]*virtualHost // exact domains, and "*"
	wildcards  []wildcard              // longest first, suffixes before prefixes
	ignorePort bool
	edits      edits
}

// wildcard is a domain such as "*.example.com" or "example.*".
type wildcard struct {
	text   string
	prefix bool // the * is at the end
	host   *virtualHost
}

// edits are the header changes of one level, for either direction.
type edits struct{ request, response headerEdit }

type virtualHost struct {
	name         string
	routes       []*route
	retry        *retryPolicy
	edits        edits
	attemptCount bool
	table        *routeTable
}

// newRouteTable validates and compiles.
func newRouteTable(p *routev3.RouteConfiguration) (*routeTable, error) {
	t := &routeTable{name: p.GetName(), hosts: map[string]*virtualHost{}, ignorePort: p.GetIgnorePortInHostMatching()}
	var err error
	if t.edits, err = newEdits(p); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, v := range p.GetVirtualHosts() {
		if names[v.GetName()] {
			return nil, envoyError("Only unique names for virtual hosts are permitted: %s", v.GetName())
		}
		names[v.GetName()] = true
		host, err := newVirtualHost(v, t)
		if err != nil {
			return nil, fmt.Errorf("virtual host %s: %w", v.GetName(), err)
		}
		if err := t.addDomains(v.GetDomains(), host); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(t.wildcards, func(a, b wildcard) int {
		if a.prefix != b.prefix {
			return map[bool]int{false: -1, true: 1}[a.prefix]
		}
		return len(b.text) - len(a.text)
	})
	return t, nil
}

// editor is any of the protos that edit headers in both directions.
type editor interface {
	GetRequestHeadersToAdd() []*corev3.HeaderValueOption
	GetRequestHeadersToRemove() []string
	GetResponseHeadersToAdd() []*corev3.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

func newEdits(p editor) (out edits, err error) {
	if out.request, err = newHeaderEdit(p.GetRequestHeadersToAdd(), p.GetRequestHeadersToRemove()); err != nil {
		return out, err
	}
	out.response, err = newHeaderEdit(p.GetResponseHeadersToAdd(), p.GetResponseHeadersToRemove())
	return out, err
}

func newVirtualHost(v *routev3.VirtualHost, t *routeTable) (*virtualHost, error) {
	host := &virtualHost{name: v.GetName(), attemptCount: v.GetIncludeRequestAttemptCount(), table: t}
	var err error
	if host.edits, err = newEdits(v); err != nil {
		return nil, err
	}
	if host.retry, err = newRetryPolicy(v.GetRetryPolicy()); err != nil {
		return nil, err
	}
	for _, r := range v.GetRoutes() {
		compiled, err := newRoute(r, host)
		if err != nil {
			return nil, err
		}
		host.routes = append(host.routes, compiled)
	}
	return host, nil
}

func (t *routeTable) addDomains(domains []string, host *virtualHost) error {
	for _, d := range domains {
		d = strings.ToLower(d)
		switch {
		case d != "*" && strings.HasPrefix(d, "*"):
			t.wildcards = append(t.wildcards, wildcard{text: d[1:], host: host})
		case d != "*" && strings.HasSuffix(d, "*"):
			t.wildcards = append(t.wildcards, wildcard{text: d[:len(d)-1], prefix: true, host: host})
		default:
			if t.hosts[d] != nil {
				return envoyError("Only unique values for domains are permitted. Duplicate entry of domain %s in route %s", d, t.name)
			}
			t.hosts[d] = host
		}
	}
	return nil
}

// host finds the virtual host of an authority: exact, then the longest wildcard, then "*".
func (t *routeTable) host(authority string) *virtualHost {
	authority = strings.ToLower(authority)
	if t.ignorePort {
		if h, _, err := net.SplitHostPort(authority); err == nil {
			authority = h
		}
	}
	if v := t.hosts[authority]; v != nil {
		return v
	}
	for _, w := range t.wildcards {
		matches := strings.HasSuffix(authority, w.text)
		if w.prefix {
			matches = strings.HasPrefix(authority, w.text)
		}
		if matches && len(authority) > len(w.text) {
			return w.host
		}
	}
	return t.hosts["*"]
}

// find returns the first route of the virtual host that a request matches, or nil.
func (t *routeTable) find(r *http.Request) *route {
	if t == nil {
		return nil
	}
	v := t.host(r.Host)
	if v == nil {
		return nil
	}
	query := r.URL.Query()
	for _, candidate := range v.routes {
		if candidate.matches(r, query) {
			return candidate
		}
	}
	return nil
}

// routeMatch is the compiled criteria of one route.
type routeMatch struct {
	path    strmatch.Func
	headers []requestMatch
	query   []func(url.Values) bool
	grpc    bool
}

func newRouteMatch(m *routev3.RouteMatch) (out routeMatch, err error) {
	out.grpc = m.GetGrpc() != nil
	fold := func(s string) string { return s }
	if cs := m.GetCaseSensitive(); cs != nil && !cs.GetValue() {
		fold = strings.ToLower
	}
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		want := fold(p.Prefix)
		out.path = func(s string) bool { return strings.HasPrefix(fold(s), want) }
	case *routev3.RouteMatch_Path:
		want := fold(p.Path)
		out.path = func(s string) bool { return fold(s) == want }
	case *routev3.RouteMatch_PathSeparatedPrefix:
		want := fold(p.PathSeparatedPrefix)
		out.path = func(s string) bool {
			rest, ok := strings.CutPrefix(fold(s), want)
			return ok && (rest == "" || rest[0] == '/')
		}
	case *routev3.RouteMatch_SafeRegex:
		re, err := strmatch.FullRegex(p.SafeRegex.GetRegex())
		if err != nil {
			return out, err
		}
		out.path = re.MatchString
	default:
		return out, fmt.Errorf("route match %T is not supported", p)
	}
	for _, h := range m.GetHeaders() {
		match, err := newHeaderMatch(h)
		if err != nil {
			return out, err
		}
		out.headers = append(out.headers, match)
	}
	for _, q := range m.GetQueryParameters() {
		match, err := newQueryMatch(q)
		if err != nil {
			return out, err
		}
		out.query = append(out.query, match)
	}
	return out, nil
}

// matches ignores the query for the path, as Envoy does.
func (m *routeMatch) matches(r *http.Request, query url.Values) bool {
	if !m.path(r.URL.EscapedPath()) || (m.grpc && !isGRPC(r.Header)) {
		return false
	}
	for _, h := range m.headers {
		if !h(r) {
			return false
		}
	}
	for _, q := range m.query {
		if !q(query) {
			return false
		}
	}
	return true
}

// isGRPC says whether the content type is gRPC's.
func isGRPC(h http.Header) bool {
	t := h.Get("Content-Type")
	return t == "application/grpc" || strings.HasPrefix(t, "application/grpc+") || strings.HasPrefix(t, "application/grpc;")
}

// routeStore is the route configurations by name. Connection managers hold an entry and see each new version of it.
type routeStore struct {
	mu      sync.Mutex
	entries map[string]*atomic.Pointer[routeTable]
}

// entry returns the place of a configuration, which may still be empty.
func (s *routeStore) entry(name string) *atomic.Pointer[routeTable] {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	if e == nil {
		e = &atomic.Pointer[routeTable]{}
		s.entries[name] = e
	}
	return e
}

// have says whether all of the names have arrived.
func (s *routeStore) have(names []string) bool {
	for _, name := range names {
		if s.entry(name).Load() == nil {
			return false
		}
	}
	return true
}

// keep forgets every configuration but those named.
func (s *routeStore) keep(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.entries {
		if !slices.Contains(names, name) {
			delete(s.entries, name)
		}
	}
}
