// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// exchange is one request and its response on their way through a connection manager.
type exchange struct {
	hcm      *hcm
	conn     *downstream
	writer   *responseWriter
	request  *http.Request // as the filters leave it
	body     *watchedBody
	metadata map[string]*structpb.Struct
	started  time.Time
	path     string // before any rewrite, after normalisation
	original string // set when the path was rewritten

	cancel context.CancelCauseFunc
	idle   *time.Timer
	onDone endings
	proxy  *httputil.ReverseProxy

	route    *route
	weighted *weightedCluster
	cluster  *cluster
	lb       lbContext
	cookie   *http.Cookie
	attempts int
	upstream string
	sentAt   time.Time

	flags, details, failure string
	respTrailer             http.Header
}

// ServeHTTP implements http.Handler: it takes one request through the filters and the router.
func (h *hcm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.engine.life.begin() {
		panic(http.ErrAbortHandler) // net/http's way to drop a connection
	}
	defer h.engine.life.finish()
	d, ok := r.Context().Value(downstreamKey{}).(*downstream)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	// A response may begin before its request has ended. Without this net/http takes what is left of an HTTP/1 request
	// away from who sends it on, and the upstream connection breaks under the response.
	_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 is so anyway and says that it is not supported
	ctx, cancel := context.WithCancelCause(r.Context())
	x := &exchange{
		hcm: h, conn: d, request: r.WithContext(ctx), metadata: map[string]*structpb.Struct{}, started: time.Now(), cancel: cancel,
	}
	x.writer = &responseWriter{ResponseWriter: w, exchange: x}
	x.body = &watchedBody{ReadCloser: r.Body, exchange: x}
	if r.Body != nil && r.Body != http.NoBody {
		x.request.Body = x.body
	}
	h.countRequest(r)
	defer h.gauge("downstream_rq_active")()
	defer x.finish()
	x.watch()
	x.run()
}

// run ends in exactly one response.
func (x *exchange) run() {
	if reply := x.prepare(); reply != nil {
		x.send(reply)
		return
	}
	if x.hcm.blocked != "" {
		x.hcm.engine.log.Warn("request refused: the filter chain has a filter that the stand-in cannot run",
			"filter", x.hcm.blocked, "listener", x.hcm.shared.name)
		x.send(&localReply{
			code: http.StatusInternalServerError, details: "filter_not_implemented",
			body: fmt.Sprintf("the Envoy stand-in cannot run filter %s", x.hcm.blocked),
		})
		return
	}
	for _, f := range x.hcm.filters {
		if reply := f.decode(x); reply != nil {
			x.send(reply)
			return
		}
	}
	x.dispatch()
}

func (h *hcm) countRequest(r *http.Request) {
	h.scope.Counter("downstream_rq_total").Inc()
	if r.ProtoMajor >= 2 {
		h.scope.Counter("downstream_rq_http2_total").Inc()
		return
	}
	h.scope.Counter("downstream_rq_http1_total").Inc()
}

// watch starts the timers that end a request which stands still or takes too long to arrive.
func (x *exchange) watch() {
	if x.hcm.streamIdle > 0 {
		x.idle = time.AfterFunc(x.hcm.streamIdle, func() {
			if x.request.Context().Err() != nil {
				return // over; a late piece of the body had started the timer again
			}
			x.hcm.scope.Counter("downstream_rq_idle_timeout").Inc()
			x.cancel(errStreamIdle)
		})
	}
	if x.hcm.request > 0 {
		timer := time.AfterFunc(x.hcm.request, func() {
			x.hcm.scope.Counter("downstream_rq_timeout").Inc()
			x.cancel(errRequestTooOld)
		})
		x.body.atEnd(func() { timer.Stop() })
		x.onDone.add(func() { timer.Stop() })
	}
}

// active puts the idle timeout off.
func (x *exchange) active() {
	if x.idle != nil {
		x.idle.Reset(x.idleTimeout())
	}
}

func (x *exchange) idleTimeout() time.Duration {
	if x.route != nil && x.route.idle != nil {
		if *x.route.idle == 0 {
			return 24 * 365 * time.Hour // zero turns it off
		}
		return *x.route.idle
	}
	return x.hcm.streamIdle
}

// finish counts and logs.
func (x *exchange) finish() {
	x.cancel(context.Canceled)
	if x.idle != nil {
		x.idle.Stop()
	}
	x.onDone.run()
	h := x.hcm
	code := x.writer.code
	class := fmt.Sprintf("downstream_rq_%dxx", code/100)
	if code >= 100 {
		h.scope.Counter(class).Inc()
		h.scope.Counter("downstream_rq_completed").Inc()
		listener := "http." + h.proto.GetStatPrefix() + "."
		h.shared.scope.Counter(listener + class).Inc()
		h.shared.scope.Counter(listener + "downstream_rq_completed").Inc()
	}
	h.scope.Histogram("downstream_rq_time").Record(float64(time.Since(x.started).Milliseconds()))
	h.log.write(x.entry())
}

// entry is what access logs and header values may speak of.
func (x *exchange) entry() *logEntry {
	e := &logEntry{
		conn: x.conn, request: x.request, original: x.original, response: x.writer.Header(), trailers: x.respTrailer,
		code: x.writer.code, flags: x.flags, details: x.details, received: x.body.read.Load(), sent: x.writer.written,
		start: x.started, duration: time.Since(x.started), upstream: x.upstream, failure: x.failure, protocol: x.request.Proto,
	}
	if x.request.ProtoMajor >= 2 {
		e.protocol = "HTTP/2"
	}
	if x.route != nil {
		e.route = x.route.name
	}
	if x.cluster != nil {
		e.cluster = x.cluster.name
	}
	return e
}

// prepare does to a request what a connection manager does before any filter: it checks and normalises the path, and
// cleans and completes the headers.
func (x *exchange) prepare() *localReply {
	r, p := x.request, x.hcm.proto
	if reply := x.checkUnderscores(); reply != nil {
		return reply
	}
	if reply := x.normalise(); reply != nil {
		return reply
	}
	x.path = r.URL.EscapedPath()
	x.hcm.forwardClientCert(r, x.conn)
	if p.GetUseRemoteAddress().GetValue() && !p.GetSkipXffAppend() {
		appendHeader(r.Header, "X-Forwarded-For", x.conn.remote.Addr().String())
	}
	if r.Header.Get("X-Forwarded-Proto") == "" || p.GetUseRemoteAddress().GetValue() {
		r.Header.Set("X-Forwarded-Proto", map[bool]string{true: "https", false: "http"}[x.conn.tls != nil])
	}
	edge := p.GetUseRemoteAddress().GetValue() && !p.GetPreserveExternalRequestId()
	if generate := p.GetGenerateRequestId(); (generate == nil || generate.GetValue()) && (edge || r.Header.Get("X-Request-Id") == "") {
		r.Header.Set("X-Request-Id", newID())
	}
	if upgrade := r.Header.Get("Upgrade"); upgrade != "" && r.ProtoMajor < 2 && upgrades(r.Header) && !x.hcm.upgrades[strings.ToLower(upgrade)] {
		x.hcm.scope.Counter("downstream_rq_ws_on_non_ws_route").Inc()
		return &localReply{code: http.StatusForbidden, details: "upgrade_failed"}
	}
	return nil
}

func upgrades(h http.Header) bool {
	return strings.Contains(strings.ToLower(strings.Join(h.Values("Connection"), ",")), "upgrade")
}

func appendHeader(h http.Header, name, value string) {
	if before := strings.Join(h.Values(name), ","); before != "" {
		value = before + "," + value
	}
	h.Set(name, value)
}

func (x *exchange) checkUnderscores() *localReply {
	action := x.hcm.proto.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction()
	if action == corev3.HttpProtocolOptions_ALLOW {
		return nil
	}
	for name := range x.request.Header {
		if !strings.Contains(name, "_") {
			continue
		}
		if action == corev3.HttpProtocolOptions_REJECT_REQUEST {
			return &localReply{code: http.StatusBadRequest, details: "unexpected_underscore"}
		}
		x.request.Header.Del(name)
	}
	return nil
}

// normalise treats escaped slashes, dot segments and repeated slashes as configured, in this order.
func (x *exchange) normalise() *localReply {
	p := x.hcm.proto
	before := x.request.URL.EscapedPath()
	path := before
	if unescaped := unescapeSlashes(path); unescaped != path {
		switch p.GetPathWithEscapedSlashesAction() {
		case hcmv3.HttpConnectionManager_REJECT_REQUEST:
			return &localReply{code: http.StatusBadRequest, details: "path_normalization_failed"}
		case hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT:
			return &localReply{
				code: http.StatusTemporaryRedirect, details: "path_normalization_redirect", header: http.Header{"Location": {unescaped}},
			}
		case hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD:
			path = unescaped
		}
	}
	if p.GetNormalizePath().GetValue() {
		normal, ok := normalPath(path)
		if !ok {
			return &localReply{code: http.StatusBadRequest, details: "path_normalization_failed"}
		}
		path = normal
	}
	if p.GetMergeSlashes() {
		for strings.Contains(path, "//") {
			path = strings.ReplaceAll(path, "//", "/")
		}
	}
	if path != before && !setPath(x.request.URL, path) {
		return &localReply{code: http.StatusBadRequest, details: "path_normalization_failed"}
	}
	return nil
}

// newID is a random UUID, as in x-request-id.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
