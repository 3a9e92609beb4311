// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"time"
)

// dispatch is the router filter: it finds the route and does what that says.
func (x *exchange) dispatch() {
	x.hcm.scope.Counter("rq_total").Inc()
	x.route = x.hcm.routes.Load().find(x.request)
	switch {
	case x.route == nil:
		x.hcm.scope.Counter("no_route").Inc()
		x.send(&localReply{code: http.StatusNotFound, flags: "NR", details: "route_not_found"})
	case x.route.direct != nil:
		x.hcm.scope.Counter("rq_direct_response").Inc()
		reply := &localReply{
			code: x.route.direct.status, body: string(x.route.direct.body), details: "direct_response", header: http.Header{},
		}
		x.editResponse(reply.header)
		x.send(reply)
	case x.route.redirect != nil:
		x.hcm.scope.Counter("rq_redirect").Inc()
		to := x.route.location(x.request, x.conn.tls != nil)
		reply := &localReply{code: x.route.redirectCode(), details: "direct_response", header: http.Header{"Location": {to}}}
		x.editResponse(reply.header)
		x.send(reply)
	default:
		x.forward()
	}
}

// forward sends the request to the route's cluster.
func (x *exchange) forward() {
	var name string
	name, x.weighted = x.route.choose(x.request)
	x.cluster = x.hcm.engine.clusters.get(name)
	if x.cluster == nil {
		x.hcm.scope.Counter("no_cluster").Inc()
		x.send(&localReply{code: x.route.notFoundCode, flags: "NC", details: "cluster_not_found"})
		return
	}
	x.lb.originalDst = x.conn.local
	x.lb.hash, x.lb.hashed, x.cookie = x.route.hash(x.request, x.conn.remote)
	x.lb.tried = map[*host]bool{}
	if x.route.timeout > 0 {
		x.body.atEnd(func() {
			timer := time.AfterFunc(x.route.timeout, func() {
				x.cluster.scope.Counter("upstream_rq_timeout").Inc()
				x.cancel(errRouteTimeout)
			})
			x.onDone.add(func() { timer.Stop() })
		})
	}
	x.active()
	x.proxy = &httputil.ReverseProxy{
		Rewrite: x.rewrite, Transport: x, ModifyResponse: x.modify, ErrorHandler: x.fail,
		FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
	}
	x.proxy.ServeHTTP(x.writer, x.request)
}

// rewrite turns the request into the one for the upstream.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	in, out := p.In, p.Out
	// ReverseProxy cleans these away; Envoy forwards them.
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"} {
		if values := in.Header.Values(name); len(values) > 0 {
			out.Header[name] = values
		}
	}
	out.URL.RawQuery = in.URL.RawQuery
	out.URL.Scheme, out.URL.Host = "http", "upstream" // RoundTrip fills in the chosen host
	action := x.route.proto.GetRoute()
	about := x.entry()
	if x.weighted != nil {
		x.weighted.edits.request.apply(out.Header, about)
	}
	x.route.edits.request.apply(out.Header, about)
	x.route.host.edits.request.apply(out.Header, about)
	x.route.host.table.edits.request.apply(out.Header, about)
	if path := x.route.rewritePath(x.path, action.GetPrefixRewrite()); path != x.path && setPath(out.URL, path) {
		x.original = in.URL.RequestURI()
		out.Header.Set("X-Envoy-Original-Path", x.original)
	}
	if literal := action.GetHostRewriteLiteral(); literal != "" {
		out.Host = literal
	}
	if x.weighted != nil && x.weighted.hostRewrite != "" {
		out.Host = x.weighted.hostRewrite
	}
	if x.route.timeout > 0 {
		out.Header.Set("X-Envoy-Expected-Rq-Timeout-Ms", strconv.FormatInt(x.route.timeout.Milliseconds(), 10))
	}
	if _, ok := in.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil // net/http would add its own
	}
}

// modify takes the upstream's response through the filters, backwards, and edits its headers.
func (x *exchange) modify(resp *http.Response) error {
	for _, f := range slices.Backward(x.hcm.filters) {
		f.encode(x, resp)
	}
	x.respTrailer = resp.Trailer
	resp.Header.Set("X-Envoy-Upstream-Service-Time", strconv.FormatInt(time.Since(x.sentAt).Milliseconds(), 10))
	x.editResponse(resp.Header)
	x.hcm.serverHeader(resp.Header, false)
	x.details = "via_upstream"
	if resp.ContentLength == 0 {
		// Headers that end the stream must go out as such: for gRPC they are the trailers. A flush would split them.
		x.proxy.FlushInterval = 0
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// ReverseProxy writes this response past the ResponseWriter.
		x.writer.code = resp.StatusCode
		x.onDone.add(x.hcm.gauge("downstream_cx_upgrades_active"))
	}
	return nil
}

func (x *exchange) editResponse(h http.Header) {
	about := x.entry()
	if x.weighted != nil {
		x.weighted.edits.response.apply(h, about)
	}
	x.route.edits.response.apply(h, about)
	x.route.host.edits.response.apply(h, about)
	x.route.host.table.edits.response.apply(h, about)
	if x.cookie != nil {
		h.Add("Set-Cookie", x.cookie.String())
	}
}

// fail answers when no upstream did.
func (x *exchange) fail(_ http.ResponseWriter, r *http.Request, err error) {
	reply := replyFor(r.Context(), err)
	if errors.Is(context.Cause(r.Context()), context.Canceled) {
		x.flags, x.details = "DC", "downstream_remote_disconnect"
		panic(http.ErrAbortHandler) // the client went away: net/http must not answer for us
	}
	x.countUpstream(reply.code)
	x.send(reply)
}

func isReply(err error) bool {
	var reply *localReply
	return errors.As(err, &reply)
}

// countUpstream charges the cluster with a response code.
func (x *exchange) countUpstream(code int) {
	scope := x.cluster.scope
	scope.Counter("upstream_rq_" + strconv.Itoa(code)).Inc()
	scope.Counter("upstream_rq_" + strconv.Itoa(code/100) + "xx").Inc()
	scope.Counter("upstream_rq_completed").Inc()
}
