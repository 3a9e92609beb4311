// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"maps"
	"net/http"
	"strings"

	bridgev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_http1_bridge/v3"
	grpcstatsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	h2mv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_to_metadata/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	"google.golang.org/protobuf/types/known/structpb"

	// Filters that are accepted but block traffic; linked in so that their configuration can be validated.
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"

	// Extensions that only need to be known: they are accepted without effect (fields.txt says why).
	_ "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"podplane/integration/standin/stats"
)

// httpFilter is a filter in front of the router.
type httpFilter interface {
	// decode sees a request before it is routed; a reply that is not nil ends it.
	decode(x *exchange) *localReply
	// encode sees the response of an upstream.
	encode(x *exchange, resp *http.Response)
	close()
}

// addFilter compiles one HTTP filter and says whether it ends the chain, as the router does.
func (h *hcm) addFilter(f *hcmv3.HttpFilter) (ends bool, err error) {
	m, err := unpack(f.GetTypedConfig())
	if err != nil {
		return false, err
	}
	var filter httpFilter
	switch v := m.(type) {
	case *routerv3.Router:
		return true, nil
	case *httprbacv3.RBAC:
		filter, err = newHTTPRBAC(v, h.scope)
	case *h2mv3.Config:
		filter, err = newHeaderToMetadata(v)
	case *grpcstatsv3.FilterConfig:
		filter = grpcStats{methods: v.GetStatsForAllMethods().GetValue()}
	case *bridgev3.Config:
		filter = grpcBridge{}
	case *extauthzv3.ExtAuthz, *jwtv3.JwtAuthentication, *luav3.Lua, *wasmv3.Wasm:
		h.blocked = f.GetName()
		return false, nil
	default:
		return false, unknownExtension(f.GetName(), f.GetTypedConfig().GetTypeUrl())
	}
	if err == nil {
		h.filters = append(h.filters, filter)
	}
	return false, err
}

// httpRBAC is envoy.filters.http.rbac.
type httpRBAC struct {
	rules, shadow        *rbacEngine
	scope                *stats.Scope // the connection manager's
	prefix, shadowPrefix string
}

func newHTTPRBAC(c *httprbacv3.RBAC, scope *stats.Scope) (*httpRBAC, error) {
	rules, err := newRBAC(c.GetRules())
	if err != nil {
		return nil, err
	}
	shadow, err := newRBAC(c.GetShadowRules())
	if err != nil {
		return nil, err
	}
	f := &httpRBAC{
		rules: rules, shadow: shadow, scope: scope,
		prefix: "rbac." + c.GetRulesStatPrefix(), shadowPrefix: "rbac." + c.GetShadowRulesStatPrefix(),
	}
	declareRBAC(scope, f.prefix, f.shadowPrefix)
	return f, nil
}

func (f *httpRBAC) decode(x *exchange) *localReply {
	s := &subject{conn: x.conn, request: x.request, metadata: x.metadata}
	if f.shadow != nil {
		ok, _ := f.shadow.allows(s)
		f.scope.Counter(f.shadowPrefix + verdict(ok, "shadow_")).Inc()
	}
	if f.rules == nil {
		return nil
	}
	ok, policy := f.rules.allows(s)
	f.scope.Counter(f.prefix + verdict(ok, "")).Inc()
	if ok {
		return nil
	}
	return &localReply{
		code: http.StatusForbidden, body: "RBAC: access denied", flags: "UAEX",
		details: "rbac_access_denied_matched_policy[" + policy + "]",
	}
}

func (*httpRBAC) encode(*exchange, *http.Response) {}
func (*httpRBAC) close()                           {}

// headerToMetadata is envoy.filters.http.header_to_metadata, for requests.
type headerToMetadata struct{ rules []metadataRule }

type metadataRule struct {
	proto   *h2mv3.Config_Rule
	rewrite *rewriter
}

func newHeaderToMetadata(c *h2mv3.Config) (*headerToMetadata, error) {
	f := &headerToMetadata{}
	for _, r := range c.GetRequestRules() {
		compiled := metadataRule{proto: r}
		if rw := r.GetOnHeaderPresent().GetRegexValueRewrite(); rw != nil {
			var err error
			if compiled.rewrite, err = newRewriter(rw); err != nil {
				return nil, err
			}
		}
		f.rules = append(f.rules, compiled)
	}
	return f, nil
}

func (f *headerToMetadata) decode(x *exchange) *localReply {
	for _, r := range f.rules {
		value, present := headerValue(x.request, r.proto.GetHeader())
		pair := r.proto.GetOnHeaderMissing()
		if present {
			pair = r.proto.GetOnHeaderPresent()
		}
		if pair == nil {
			continue
		}
		switch {
		case present && r.rewrite != nil:
			value = r.rewrite.apply(value)
		case pair.GetValue() != "":
			value = pair.GetValue()
		}
		if value != "" {
			x.note(pair.GetMetadataNamespace(), pair.GetKey(), structpb.NewStringValue(value))
		}
		if present && r.proto.GetRemove() {
			x.request.Header.Del(r.proto.GetHeader())
		}
	}
	return nil
}

func (*headerToMetadata) encode(*exchange, *http.Response) {}
func (*headerToMetadata) close()                           {}

// note keeps dynamic metadata. Without a namespace of its own it belongs to the filter.
func (x *exchange) note(namespace, key string, value *structpb.Value) {
	if namespace == "" {
		namespace = "envoy.filters.http.header_to_metadata"
	}
	if x.metadata[namespace] == nil {
		x.metadata[namespace] = &structpb.Struct{Fields: map[string]*structpb.Value{}}
	}
	x.metadata[namespace].Fields[key] = value
}

// grpcStats is envoy.filters.http.grpc_stats: counts of calls by service and method, under the cluster that served them.
type grpcStats struct{ methods bool }

func (grpcStats) decode(*exchange) *localReply { return nil }

func (f grpcStats) encode(x *exchange, resp *http.Response) {
	if !isGRPC(x.request.Header) || x.cluster == nil {
		return
	}
	x.onDone.add(func() {
		status := resp.Header.Get("Grpc-Status")
		if status == "" {
			status = resp.Trailer.Get("Grpc-Status")
		}
		service, method, _ := strings.Cut(strings.TrimPrefix(x.path, "/"), "/")
		prefix := "grpc."
		if f.methods {
			prefix += service + "." + method + "."
		}
		count := func(name string) { x.cluster.scope.Counter(prefix + name).Inc() }
		count("total")
		if status == "" {
			return
		}
		count(status)
		if status == "0" {
			count("success")
		} else {
			count("failure")
		}
	})
}

func (grpcStats) close() {}

// grpcBridge is envoy.filters.http.grpc_http1_bridge: a gRPC call that came by HTTP/1.1 gets the status from the
// trailers in its headers, and HTTP status 503 if that is not OK.
type grpcBridge struct{}

func (grpcBridge) decode(*exchange) *localReply { return nil }

func (grpcBridge) encode(x *exchange, resp *http.Response) {
	if x.request.ProtoMajor >= 2 || !isGRPC(x.request.Header) {
		return
	}
	if err := bufferBody(resp); err != nil {
		return // the client sees the body end early, as it would without the bridge
	}
	maps.Copy(resp.Header, resp.Trailer)
	resp.Trailer = nil
	if status := resp.Header.Get("Grpc-Status"); status != "" && status != "0" {
		resp.StatusCode = http.StatusServiceUnavailable
	}
}

func (grpcBridge) close() {}
