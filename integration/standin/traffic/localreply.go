// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// localReply is a response that the proxy makes itself. It is an error where a round trip ends in it.
type localReply struct {
	code       int
	body       string
	flags      string
	details    string
	overloaded bool
	header     http.Header
	cause      error
}

// Error implements error.
func (r *localReply) Error() string { return r.details }

// Unwrap gives what went wrong, if anything.
func (r *localReply) Unwrap() error { return r.cause }

// Reasons for which a request is given up; each is the cause of its context's end.
var (
	errRouteTimeout  = &localReply{code: 504, body: "upstream request timeout", flags: "UT", details: "response_timeout"}
	errTryTimeout    = &localReply{code: 504, body: "upstream request timeout", flags: "UT", details: "upstream_per_try_timeout"}
	errStreamIdle    = &localReply{code: 504, body: "stream timeout", flags: "SI", details: "stream_idle_timeout"}
	errRequestTooOld = &localReply{code: 408, body: "request timeout", details: "request_overall_timeout"}
)

// replyFor is Envoy's answer to a failed attempt.
func replyFor(ctx context.Context, err error) *localReply {
	var reply *localReply
	if errors.As(err, &reply) || errors.As(context.Cause(ctx), &reply) {
		return reply
	}
	const prefix = "upstream connect error or disconnect/reset before headers. "
	var connect *connectError
	switch {
	case errors.Is(err, errOverflow):
		return &localReply{
			code: 503, body: prefix + "reset reason: overflow", flags: "UO", details: "upstream_reset_before_response_started{overflow}",
			overloaded: true, cause: err,
		}
	case errors.As(err, &connect) && connect.timeout:
		return &localReply{
			code: 503, body: prefix + "reset reason: connection timeout", flags: "UF",
			details: "upstream_reset_before_response_started{connection_timeout}", cause: err,
		}
	case errors.As(err, &connect):
		reason := transportFailure(err)
		return &localReply{
			code: 503, body: prefix + "reset reason: remote connection failure, transport failure reason: " + reason, flags: "UF",
			details: "upstream_reset_before_response_started{remote_connection_failure|" + strings.ReplaceAll(reason, " ", "_") + "}",
			cause:   err,
		}
	default:
		return &localReply{
			code: 503, body: prefix + "reset reason: connection termination", flags: "UC",
			details: "upstream_reset_before_response_started{connection_termination}", cause: err,
		}
	}
}

// transportFailure words a failed connection as Envoy does.
func transportFailure(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, errWrongSAN):
		return "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify SAN list:TLS_error_end"
	case errors.Is(err, errUntrusted):
		return "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end"
	case strings.HasPrefix(err.Error(), "TLS_error"):
		return err.Error()
	case errors.As(err, &errno):
		text := errno.Error()
		return "delayed connect error: " + strings.ToUpper(text[:1]) + text[1:]
	default:
		return err.Error()
	}
}

// send writes a local reply. A gRPC request gets its status in headers, with HTTP status 200.
func (x *exchange) send(r *localReply) {
	x.flags, x.details = r.flags, r.details
	if r.cause != nil {
		x.failure = transportFailure(r.cause)
	}
	header := x.writer.Header()
	maps.Copy(header, r.header)
	x.hcm.serverHeader(header, true)
	if r.overloaded {
		header.Set("X-Envoy-Overloaded", "true")
	}
	if isGRPC(x.request.Header) {
		header.Set("Content-Type", "application/grpc")
		header.Set("Grpc-Status", grpcStatus(r.code))
		if r.body != "" {
			header.Set("Grpc-Message", strings.ReplaceAll(r.body, "%", "%25"))
		}
		x.writer.WriteHeader(http.StatusOK)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(r.body)))
	if r.body != "" && header.Get("Content-Type") == "" {
		header.Set("Content-Type", "text/plain")
	}
	if r.body == "" {
		header.Del("Content-Type")
		header["Content-Type"] = nil // net/http would guess one
	}
	x.writer.WriteHeader(r.code)
	_, _ = io.WriteString(x.writer, r.body) // a client that went away needs no answer
}

// grpcStatus maps an HTTP status to gRPC's.
// Source: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
func grpcStatus(code int) string {
	switch code {
	case http.StatusBadRequest:
		return "13"
	case http.StatusUnauthorized:
		return "16"
	case http.StatusForbidden:
		return "7"
	case http.StatusNotFound:
		return "12"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "14"
	default:
		return "2"
	}
}

// bufferBody reads a response's body whole, so that its trailers are known.
func bufferBody(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return err
}
