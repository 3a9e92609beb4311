// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RoundTrip implements http.RoundTripper: it sends a request to an endpoint of the cluster, and to others as the retry
// policy says.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	policy := x.route.retry
	var replay *replayBody
	if policy != nil && req.Body != nil {
		replay = &replayBody{source: req.Body}
	}
	for n := uint32(0); ; n++ {
		resp, err := x.attempt(req, replay)
		again := policy != nil && n < policy.retries && req.Context().Err() == nil && !isReply(err) &&
			policy.wants(resp, err) && (replay == nil || replay.replayable())
		if !again {
			x.settle(n, resp, err)
			return resp, err
		}
		if !x.reserveRetry() {
			return resp, err
		}
		if resp != nil {
			_ = resp.Body.Close() // the attempt is given up
		}
		wait := time.NewTimer(policy.pause(n + 1))
		select {
		case <-wait.C:
		case <-req.Context().Done():
			wait.Stop()
		}
		x.cluster.breaker.activeRetries.Add(-1)
		x.cluster.scope.Counter("upstream_rq_retry").Inc()
	}
}

// settle counts how the last attempt ended.
func (x *exchange) settle(retries uint32, resp *http.Response, err error) {
	if err == nil {
		x.countUpstream(resp.StatusCode)
		if retries > 0 && resp.StatusCode < http.StatusInternalServerError {
			x.cluster.scope.Counter("upstream_rq_retry_success").Inc()
		}
	}
	if policy := x.route.retry; policy != nil && retries == policy.retries && retries > 0 && (err != nil || policy.wants(resp, err)) {
		x.cluster.scope.Counter("upstream_rq_retry_limit_exceeded").Inc()
		if err != nil {
			x.flags = "URX"
		}
	}
}

// reserveRetry keeps to the circuit breaker for retries.
func (x *exchange) reserveRetry() bool {
	b := &x.cluster.breaker
	if b.activeRetries.Add(1) <= int64(b.retries) {
		return true
	}
	b.activeRetries.Add(-1)
	x.cluster.scope.Counter("upstream_rq_retry_overflow").Inc()
	return false
}

// attempt sends the request to one endpoint.
func (x *exchange) attempt(req *http.Request, replay *replayBody) (*http.Response, error) {
	e := x.cluster.pick(x.lb)
	if e == nil {
		x.cluster.scope.Counter("upstream_cx_none_healthy").Inc()
		return nil, &localReply{code: http.StatusServiceUnavailable, body: "no healthy upstream", flags: "UH", details: "no_healthy_upstream"}
	}
	x.lb.tried[e.host] = true
	x.upstream = e.address.target
	x.attempts++
	v2 := e.cluster.mode == modeHTTP2 || (e.cluster.mode == modeDownstream && x.request.ProtoMajor >= 2)
	if upgrades(req.Header) && v2 {
		return nil, &localReply{
			code: http.StatusServiceUnavailable, details: "upgrade_over_http2_not_implemented",
			body: "the Envoy stand-in cannot carry an upgrade over HTTP/2",
		}
	}
	if !e.cluster.admit(v2) {
		return nil, errOverflow
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	out := req.Clone(ctx)
	if replay != nil {
		out.Body = replay.view()
	}
	sendOnce(out)
	out.URL.Host = hostForPool(e.address)
	if x.route.proto.GetRoute().GetAutoHostRewrite().GetValue() && e.hostname != "" {
		out.Host = e.hostname
	}
	if x.route.host.attemptCount {
		out.Header.Set("X-Envoy-Attempt-Count", strconv.Itoa(x.attempts))
	}
	return x.roundTrip(&call{endpoint: e, cancel: cancel, exchange: x}, out, v2)
}

// roundTrip does the call and ties its end to that of the response's body.
func (x *exchange) roundTrip(c *call, out *http.Request, v2 bool) (*http.Response, error) {
	c.begin()
	x.sentAt = time.Now()
	var perTry *time.Timer
	if p := x.route.retry; p != nil && p.perTry > 0 {
		perTry = time.AfterFunc(p.perTry, func() {
			c.endpoint.cluster.scope.Counter("upstream_rq_per_try_timeout").Inc()
			c.cancel(errTryTimeout)
		})
	}
	resp, err := c.endpoint.transport(v2).RoundTrip(out)
	for leftOut(err) && out.Body == (emptyBody{}) && out.Context().Err() == nil {
		resp, err = c.endpoint.transport(v2).RoundTrip(out)
	}
	if perTry != nil {
		perTry.Stop()
	}
	if err != nil {
		if cause := context.Cause(out.Context()); out.Context().Err() != nil && isReply(cause) {
			err = cause
		}
		c.end(err, 0)
		return nil, err
	}
	c.code = resp.StatusCode
	if rw, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &callStream{ReadWriteCloser: rw, call: c}
		return resp, nil
	}
	resp.Body = &callBody{ReadCloser: resp.Body, call: c}
	return resp, nil
}

// admit keeps to the circuit breakers: HTTP/2 by requests, HTTP/1 by connections and what may wait for one.
func (c *cluster) admit(v2 bool) bool {
	active := c.scope.Gauge("upstream_rq_active").Value()
	limit := int64(c.breaker.requests)
	if !v2 {
		limit = int64(c.breaker.connections) + int64(c.breaker.pending)
	}
	if active < limit {
		return true
	}
	c.scope.Counter("upstream_rq_pending_overflow").Inc()
	return false
}

// hostForPool is a URL host for an endpoint. The pool belongs to the endpoint, so it need not say which.
func hostForPool(a address) string {
	if a.network == "unix" {
		return "pipe"
	}
	return a.target
}

// call is one attempt from its start to the end of its response.
type call struct {
	endpoint *endpoint
	exchange *exchange
	cancel   context.CancelCauseFunc
	started  time.Time
	code     int
	once     sync.Once
}

func (c *call) begin() {
	c.started = time.Now()
	h := c.endpoint.host
	h.acquire()
	h.rqTotal.Add(1)
	h.rqActive.Add(1)
	h.cluster.scope.Counter("upstream_rq_total").Inc()
	h.cluster.scope.Gauge("upstream_rq_active").Inc()
}

// end counts the outcome, once.
func (c *call) end(err error, code int) {
	c.once.Do(func() {
		h := c.endpoint.host
		c.cancel(context.Canceled)
		h.rqActive.Add(-1)
		h.cluster.scope.Gauge("upstream_rq_active").Dec()
		h.cluster.scope.Histogram("upstream_rq_time").Record(float64(time.Since(c.started).Milliseconds()))
		var connect *connectError
		switch {
		case errors.Is(err, context.Canceled):
			h.cluster.scope.Counter("upstream_rq_tx_reset").Inc()
		case errors.As(err, &connect): // the dial has reported it
			h.rqError.Add(1)
			h.cluster.scope.Counter("upstream_rq_pending_failure_eject").Inc()
		case err != nil:
			h.rqError.Add(1)
			h.report(true)
			h.cluster.scope.Counter("upstream_rq_rx_reset").Inc()
		case code >= http.StatusInternalServerError:
			h.rqError.Add(1)
			h.report(true)
		default:
			h.rqSuccess.Add(1)
			h.report(false)
		}
		h.release()
	})
}

// callBody ends its call when the response has been read or given up.
type callBody struct {
	io.ReadCloser
	call *call
}

// Read implements io.Reader.
func (b *callBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.call.exchange.active()
	if err == io.EOF {
		b.call.end(nil, b.call.code)
	}
	return n, err
}

// Close implements io.Closer.
func (b *callBody) Close() error {
	err := b.ReadCloser.Close()
	b.call.end(nil, b.call.code)
	return err
}

// callStream is the body of an upgraded connection.
type callStream struct {
	io.ReadWriteCloser
	call *call
}

// Close implements io.Closer.
func (s *callStream) Close() error {
	err := s.ReadWriteCloser.Close()
	s.call.end(nil, s.call.code)
	return err
}
