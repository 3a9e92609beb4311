// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"net/netip"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// route is a compiled route: what it matches and what it does.
type route struct {
	routeMatch
	name  string
	proto *routev3.Route
	host  *virtualHost
	edits edits

	direct   *directResponse
	redirect *routev3.RedirectAction

	cluster       string
	clusterHeader string
	weighted      []weightedCluster
	timeout       time.Duration // zero: none
	idle          *time.Duration
	retry         *retryPolicy
	rewrite       *rewriter // of the path, for regex_rewrite in action or redirect
	hashes        []*routev3.RouteAction_HashPolicy
	notFoundCode  int
}

type directResponse struct {
	status int
	body   []byte
}

type weightedCluster struct {
	weightedName
	edits       edits
	hostRewrite string
}

func newRoute(p *routev3.Route, host *virtualHost) (*route, error) {
	r := &route{name: p.GetName(), proto: p, host: host}
	var err error
	if r.routeMatch, err = newRouteMatch(p.GetMatch()); err != nil {
		return nil, err
	}
	if r.edits, err = newEdits(p); err != nil {
		return nil, err
	}
	switch action := p.GetAction().(type) {
	case *routev3.Route_Route:
		return r, r.readAction(action.Route)
	case *routev3.Route_DirectResponse:
		body, _, err := readSource(action.DirectResponse.GetBody())
		r.direct = &directResponse{status: int(action.DirectResponse.GetStatus()), body: body}
		return r, err
	case *routev3.Route_Redirect:
		r.redirect = action.Redirect
		if rw := action.Redirect.GetRegexRewrite(); rw != nil {
			r.rewrite, err = newRewriter(rw)
		}
		return r, err
	default:
		return nil, fmt.Errorf("route action %T is not supported", action)
	}
}

func (r *route) readAction(a *routev3.RouteAction) error {
	r.timeout = duration(a.GetTimeout(), 15*time.Second)
	if a.GetIdleTimeout() != nil {
		idle := a.GetIdleTimeout().AsDuration()
		r.idle = &idle
	}
	r.hashes = a.GetHashPolicy()
	r.notFoundCode = http.StatusServiceUnavailable
	if a.GetClusterNotFoundResponseCode() == routev3.RouteAction_NOT_FOUND {
		r.notFoundCode = http.StatusNotFound
	} else if a.GetClusterNotFoundResponseCode() == routev3.RouteAction_INTERNAL_SERVER_ERROR {
		r.notFoundCode = http.StatusInternalServerError
	}
	var err error
	if r.retry, err = newRetryPolicy(a.GetRetryPolicy()); err != nil {
		return err
	}
	if r.retry == nil {
		r.retry = r.host.retry
	}
	if rw := a.GetRegexRewrite(); rw != nil {
		if a.GetPrefixRewrite() != "" {
			return fmt.Errorf("only one of prefix_rewrite or regex_rewrite may be specified")
		}
		if r.rewrite, err = newRewriter(rw); err != nil {
			return err
		}
	}
	switch c := a.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		r.cluster = c.Cluster
	case *routev3.RouteAction_ClusterHeader:
		r.clusterHeader = c.ClusterHeader
	case *routev3.RouteAction_WeightedClusters:
		return r.readWeighted(c.WeightedClusters)
	default:
		return fmt.Errorf("cluster specifier %T is not supported", c)
	}
	return nil
}

func (r *route) readWeighted(w *routev3.WeightedCluster) error {
	total := uint64(0)
	for _, c := range w.GetClusters() {
		e, err := newEdits(c)
		if err != nil {
			return err
		}
		total += uint64(c.GetWeight().GetValue())
		r.weighted = append(r.weighted, weightedCluster{
			weightedName: weightedName{name: c.GetName(), weight: c.GetWeight().GetValue()}, edits: e,
			hostRewrite: c.GetHostRewriteLiteral(),
		})
	}
	if total == 0 {
		return envoyError("Sum of weights in the weighted_cluster must be greater than 0.")
	}
	return nil
}

// choose names the cluster of one request; the weighted entry is nil without weights.
func (r *route) choose(req *http.Request) (string, *weightedCluster) {
	if r.clusterHeader != "" {
		return req.Header.Get(r.clusterHeader), nil
	}
	if len(r.weighted) == 0 {
		return r.cluster, nil
	}
	names := make([]weightedName, 0, len(r.weighted))
	for _, w := range r.weighted {
		names = append(names, w.weightedName)
	}
	name := drawName(names)
	for i := range r.weighted {
		if r.weighted[i].name == name {
			return name, &r.weighted[i]
		}
	}
	return name, nil
}

// rewritePath applies prefix_rewrite or regex_rewrite to an escaped path without query.
func (r *route) rewritePath(path, prefixRewrite string) string {
	if r.rewrite != nil {
		return r.rewrite.apply(path)
	}
	if prefixRewrite == "" {
		return path
	}
	switch m := r.proto.GetMatch().GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		return prefixRewrite + path[len(m.Prefix):]
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return prefixRewrite + path[len(m.PathSeparatedPrefix):]
	default: // an exact path, or a regex that matched all of it
		return prefixRewrite
	}
}

// location is where a redirect sends a request.
func (r *route) location(req *http.Request, secure bool) string {
	a := r.redirect
	scheme := map[bool]string{true: "https", false: "http"}[secure || a.GetHttpsRedirect()]
	if a.GetSchemeRedirect() != "" {
		scheme = a.GetSchemeRedirect()
	}
	host := req.Host
	if a.GetHostRedirect() != "" {
		host = a.GetHostRedirect()
	}
	if a.GetPortRedirect() != 0 {
		name, _, found := strings.Cut(host, ":")
		if !found {
			name = host
		}
		host = fmt.Sprintf("%s:%d", name, a.GetPortRedirect())
	}
	path := r.rewritePath(req.URL.EscapedPath(), a.GetPrefixRewrite())
	if a.GetPathRedirect() != "" {
		path = a.GetPathRedirect()
	}
	if req.URL.RawQuery != "" && !a.GetStripQuery() && !strings.Contains(path, "?") {
		path += "?" + req.URL.RawQuery
	}
	return scheme + "://" + host + path
}

// redirectCode is the status of a redirect.
func (r *route) redirectCode() int {
	switch r.redirect.GetResponseCode() {
	case routev3.RedirectAction_FOUND:
		return http.StatusFound
	case routev3.RedirectAction_SEE_OTHER:
		return http.StatusSeeOther
	case routev3.RedirectAction_TEMPORARY_REDIRECT:
		return http.StatusTemporaryRedirect
	case routev3.RedirectAction_PERMANENT_REDIRECT:
		return http.StatusPermanentRedirect
	default:
		return http.StatusMovedPermanently
	}
}

// hash combines the route's hash policies. setCookie is one to give the client, where a policy wants it and the client
// has none.
func (r *route) hash(req *http.Request, remote netip.AddrPort) (hash uint64, ok bool, setCookie *http.Cookie) {
	for _, p := range r.hashes {
		var text string
		switch v := p.GetPolicySpecifier().(type) {
		case *routev3.RouteAction_HashPolicy_Header_:
			text, _ = headerValue(req, v.Header.GetHeaderName())
		case *routev3.RouteAction_HashPolicy_Cookie_:
			if c, err := req.Cookie(v.Cookie.GetName()); err == nil {
				text = c.Value
			} else if v.Cookie.GetTtl() != nil {
				text = newID()
				setCookie = &http.Cookie{ //nolint:gosec // the cookie that Envoy sets, which is neither Secure nor SameSite
					Name: v.Cookie.GetName(), Value: text, Path: v.Cookie.GetPath(), HttpOnly: true,
					MaxAge: int(v.Cookie.GetTtl().AsDuration() / time.Second),
				}
			}
		case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
			if v.ConnectionProperties.GetSourceIp() {
				text = remote.Addr().String()
			}
		case *routev3.RouteAction_HashPolicy_QueryParameter_:
			text = req.URL.Query().Get(v.QueryParameter.GetName())
		}
		if text == "" {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(text)) // fnv never fails
		hash, ok = (hash<<1|hash>>63)^h.Sum64(), true
		if p.GetTerminal() {
			break
		}
	}
	return hash, ok, setCookie
}
